#!/usr/bin/env python3
"""A chat through Holdall with the OpenAI SDK and the Chat Completions API.

    pip install openai
    holdall serve --dev &
    python chat.py

Each response has a `conversation_token`. Send it with the next message, and send only that message:
the token contains the rest. Store the token like a password: it contains the conversation. Set
HOLDALL_URL to use another address.
"""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("HOLDALL_URL", "http://127.0.0.1:8787") + "/v1",
    # The user's credential. Ignored if `identity.mode` is `none`.
    api_key=os.environ.get("HOLDALL_API_KEY", "unused"),
)


def ask(text, token=None):
    completion = client.chat.completions.create(
        model="default",
        messages=[{"role": "user", "content": text}],
        extra_body={"conversation_token": token} if token else None,
    )
    print(completion.choices[0].message.content)
    return completion.conversation_token


token = ask("My name is Ada.")
token = ask("What is my name?", token)

# Streamed: the last chunk has the token, and no choice.
chunks = client.chat.completions.create(
    model="default",
    messages=[{"role": "user", "content": "Count to 10."}],
    stream=True,
    extra_body={"conversation_token": token},
)
for chunk in chunks:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
    token = getattr(chunk, "conversation_token", token)
print()

# With the SDK's stream helper, the token is a member of the message.
with client.chat.completions.stream(
    model="default",
    messages=[{"role": "user", "content": "What did I say first?"}],
    extra_body={"conversation_token": token},
) as stream:
    for event in stream:
        if event.type == "content.delta":
            print(event.delta, end="", flush=True)
    message = stream.get_final_completion().choices[0].message
    token = message.conversation_token
print()
