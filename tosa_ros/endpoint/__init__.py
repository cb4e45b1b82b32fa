"""Language models behind OpenAI-compatible servers: asked with patience, never trusted."""

from tosa_ros.endpoint.chat import ChatEndpoint, EndpointError, RefusedError, Reply, Role

__all__ = ['ChatEndpoint', 'EndpointError', 'RefusedError', 'Reply', 'Role']
