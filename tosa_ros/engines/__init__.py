"""Who answers in place of this process's own model.

    served  a model behind an OpenAI-compatible server, which is sent the frames as pictures

Each has the face of `VqaPipeline` that evaluation uses: `merging` and `answer_batch`.
"""
