#!/usr/bin/env python3
"""An agent with a tool through Holdall, with the OpenAI Agents SDK.

    pip install openai-agents
    holdall serve --dev &
    python agents_sdk.py

The program keeps only `last_response_id` between runs, and any instance of Holdall continues from
it. Store it like a password: it contains the conversation. Set HOLDALL_URL to use another address.
"""

import asyncio
import os

from agents import Agent, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

# By default the SDK sends its traces to OpenAI, and the traces contain the ids.
set_tracing_disabled(True)

client = AsyncOpenAI(
    base_url=os.environ.get("HOLDALL_URL", "http://127.0.0.1:8787") + "/v1",
    api_key=os.environ.get("HOLDALL_API_KEY", "unused"),
)


@function_tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


agent = Agent(
    name="Assistant",
    instructions="Add with the tool.",
    model=OpenAIResponsesModel(model="default", openai_client=client),
    tools=[add],
)


async def main():
    # With `auto_previous_response_id`, the first run also sends only new items after a tool call.
    result = await Runner.run(agent, "My name is Ada.", auto_previous_response_id=True)
    print(result.final_output)

    # The SDK calls the tool and continues with the result.
    result = await Runner.run(
        agent, 'Call add with {"a": 2, "b": 3}', previous_response_id=result.last_response_id
    )
    print(result.final_output)

    result = Runner.run_streamed(agent, "What is my name?", previous_response_id=result.last_response_id)
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            print(event.data.delta, end="", flush=True)
    print()


asyncio.run(main())
