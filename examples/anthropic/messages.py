#!/usr/bin/env python3
"""A chat with a tool through Holdall, with the Anthropic SDK.

    pip install anthropic
    holdall serve --dev &
    python messages.py

Each response has a `conversation_token`. Send it with the next message, and send only that message:
the token contains the rest. Store the token like a password: it contains the conversation. Set
HOLDALL_URL to use another address.
"""

import os

from anthropic import Anthropic

client = Anthropic(
    base_url=os.environ.get("HOLDALL_URL", "http://127.0.0.1:8787"),
    # The user's credential. Ignored if `identity.mode` is `none`.
    api_key=os.environ.get("HOLDALL_API_KEY", "unused"),
)
tools = [
    {
        "name": "add",
        "description": "Adds two numbers.",
        "input_schema": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    }
]


def ask(content, token=None):
    return client.messages.create(
        model="default",
        max_tokens=1000,
        messages=[{"role": "user", "content": content}],
        tools=tools,
        extra_body={"conversation_token": token} if token else None,
    )


message = ask("My name is Ada.")
print(message.content[0].text)
message = ask("What is my name?", message.conversation_token)
print(message.content[0].text)

# A tool: the model calls it, this program sends the result, the model replies.
message = ask('Call add with {"a": 2, "b": 3}', message.conversation_token)
results = []
for block in message.content:
    if block.type == "tool_use":
        result = str(block.input["a"] + block.input["b"])
        results.append({"type": "tool_result", "tool_use_id": block.id, "content": result})
message = ask(results, message.conversation_token)
print(message.content[0].text)

# Streamed: the event `message_delta` has the token.
with client.messages.stream(
    model="default",
    max_tokens=1000,
    messages=[{"role": "user", "content": "What did I say first?"}],
    extra_body={"conversation_token": message.conversation_token},
) as stream:
    for event in stream:
        if event.type == "text":
            print(event.text, end="", flush=True)
        elif event.type == "message_delta":
            token = event.conversation_token
print()
print(ask("What is my name?", token).content[0].text)
