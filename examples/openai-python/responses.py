#!/usr/bin/env python3
"""A chat through Holdall with the OpenAI SDK and the Responses API.

    pip install openai
    holdall serve --dev &
    python responses.py

The response's id contains the conversation. Pass the last id as `previous_response_id`, and any
instance of Holdall continues from there. Store the id like a password. Set HOLDALL_URL to use
another address.
"""

import json
import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("HOLDALL_URL", "http://127.0.0.1:8787") + "/v1",
    # The user's credential. Ignored if `identity.mode` is `none`.
    api_key=os.environ.get("HOLDALL_API_KEY", "unused"),
)

# The first turn has no previous id.
response = client.responses.create(model="default", input="My name is Ada.")
print(response.output_text)

# Each later turn passes the id of the last response.
response = client.responses.create(model="default", input="What is my name?", previous_response_id=response.id)
print(response.output_text)

# Streamed, with the SDK's helper.
with client.responses.stream(
    model="default", input="Count to 10.", previous_response_id=response.id
) as stream:
    for event in stream:
        if event.type == "response.output_text.delta":
            print(event.delta, end="", flush=True)
    response = stream.get_final_response()
print()

# Streamed live: text arrives as the model writes it, and the last event has the id. By default a
# stream waits for the complete reply, because many clients take the id from the first event.
events = client.responses.create(
    model="default",
    input="What did I say first?",
    previous_response_id=response.id,
    stream=True,
    metadata={"holdall_stream": "live"},
)
for event in events:
    if event.type == "response.output_text.delta":
        print(event.delta, end="", flush=True)
    elif event.type == "response.completed":
        response = event.response
print()

# A tool: the model calls it, this program sends the result, the model replies.
tools = [
    {
        "type": "function",
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
            "additionalProperties": False,
        },
        "strict": True,
    }
]
response = client.responses.create(
    model="default", input='Call add with {"a": 2, "b": 3}', previous_response_id=response.id, tools=tools
)
results = []
for item in response.output:
    if item.type == "function_call":
        arguments = json.loads(item.arguments)
        result = str(arguments["a"] + arguments["b"])
        results.append({"type": "function_call_output", "call_id": item.call_id, "output": result})
response = client.responses.create(
    model="default", input=results, previous_response_id=response.id, tools=tools
)
print(response.output_text)
