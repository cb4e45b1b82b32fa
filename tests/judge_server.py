"""A real HTTP server that answers as judges' endpoints do."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def reply(text, **more):
    """A chat completion; more: fields of its message."""
    message = {'role': 'assistant', 'content': text, **more}
    return 200, {'choices': [{'message': message, 'finish_reason': 'stop'}]}


class Server(ThreadingHTTPServer):
    """Answers by a function of the prompt and how often that prompt came; keeps the requests.

    refuse: a function of the request's body, whose result, if there is one, is answered instead.
    """

    def __init__(self, answer, refuse=lambda body: None):
        super().__init__(('127.0.0.1', 0), Handler)
        self.answer, self.refuse = answer, refuse
        self.requests, self.lock = [], threading.Lock()
        self.url = f'http://127.0.0.1:{self.server_port}/v1'

    def prompts(self):
        return [body['messages'][0]['content'] for _, body, _ in self.requests]

    def bodies(self):
        return [body for _, body, _ in self.requests]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        prompt = body['messages'][0]['content']
        with self.server.lock:
            seen = self.server.prompts().count(prompt)
            self.server.requests.append((self.path, body, dict(self.headers)))
        status, value, *headers = self.server.refuse(body) or self.server.answer(prompt, seen)
        if status is None:
            self.wfile.write(value.encode())
            self.wfile.flush()
            self.close_connection = True
            return
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers:
            self.send_header(name, text)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass
