#!/usr/bin/env python3
"""A chat with a tool through Holdall, with LangChain.

    pip install langchain-openai
    holdall serve --dev &
    python chat.py

With `use_previous_response_id`, LangChain sends the id of the last response and only the messages
after it. The id contains the rest, so any instance of Holdall can continue. Store the id like a
password. Set HOLDALL_URL to use another address.
"""

import os

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


model = ChatOpenAI(
    model="default",
    base_url=os.environ.get("HOLDALL_URL", "http://127.0.0.1:8787") + "/v1",
    api_key=os.environ.get("HOLDALL_API_KEY", "unused"),
    use_previous_response_id=True,
).bind_tools([add])

messages = [HumanMessage("My name is Ada.")]
messages.append(model.invoke(messages))
print(messages[-1].text)

# Streamed: the sum of the chunks is the message.
messages.append(HumanMessage("What is my name?"))
answer = None
for chunk in model.stream(messages):
    print(chunk.text, end="", flush=True)
    answer = chunk if answer is None else answer + chunk
print()
messages.append(answer)

# A tool: the model calls it, LangChain runs it, the model replies.
messages.append(HumanMessage('Call add with {"a": 2, "b": 3}'))
messages.append(model.invoke(messages))
messages += [add.invoke(call) for call in messages[-1].tool_calls]
messages.append(model.invoke(messages))
print(messages[-1].text)

# To continue elsewhere, only the last response's id is needed. The messages before it can be
# deleted.
messages = [messages[-1], HumanMessage("What did I say first?")]
print(model.invoke(messages).text)
