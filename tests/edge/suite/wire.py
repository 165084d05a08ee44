"""Every door as its clients see it: how a turn is asked for, and where reply and token are found."""

from __future__ import annotations

import json

PATHS = {
    "native": "/v1/turns",
    "responses": "/v1/responses",
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
}


def turn(door: str, user: str | None, token: str | None, text: str, stream: bool) -> dict:
    """The body of a turn; `token` as the native door gives it."""
    messages = [{"role": "user", "content": text}]
    if door == "native":
        body: dict = {"token": token, "input": text}
        named = {"user_id": user}
    elif door == "responses":
        id = None if token is None else f"resp_{token}"
        body = {"model": "default", "input": text, "previous_response_id": id}
        named = {"safety_identifier": user}
    elif door == "chat":
        body = {"model": "default", "messages": messages, "conversation_token": token}
        named = {"user": user}
    else:
        body = {"model": "default", "max_tokens": 1000, "messages": messages, "conversation_token": token}
        named = {"metadata": {"user_id": user}}
    if user is not None:
        body.update(named)
    return {**body, "stream": stream}


def read(door: str, body: bytes, stream: bool) -> tuple[str, str] | None:
    """The reply's text and the fresh token; none of a stream that broke off."""
    said = _read_stream(door, body) if stream else _read_whole(door, json.loads(body))
    return said and (said[0], said[1].removeprefix("resp_"))


def _read_whole(door: str, answer: dict) -> tuple[str, str]:
    if door == "native":
        return answer["reply"], answer["token"]
    if door == "responses":
        return answer["output"][0]["content"][0]["text"], answer["id"]
    if door == "chat":
        return answer["choices"][0]["message"]["content"], answer["conversation_token"]
    return answer["content"][0]["text"], answer["conversation_token"]


def _read_stream(door: str, body: bytes) -> tuple[str, str] | None:
    data = [line[len("data: ") :] for line in body.decode().splitlines() if line.startswith("data: ")]
    events = [json.loads(line) for line in data if line != "[DONE]"]
    if door == "native":
        ends = [event for event in events if "token" in event]
        return _read_whole(door, ends[0]) if ends else None
    if door == "responses":
        ends = [event for event in events if event.get("type") == "response.completed"]
        return _read_whole(door, ends[0]["response"]) if ends else None
    if door == "chat":
        deltas = [choice["delta"] for event in events for choice in event.get("choices", [])]
        tokens = [event["conversation_token"] for event in events if "conversation_token" in event]
        return ("".join(delta.get("content") or "" for delta in deltas), tokens[0]) if tokens else None
    deltas = [event["delta"] for event in events if "delta" in event]
    ends = [event for event in events if event.get("type") == "message_stop"]
    return ("".join(delta.get("text", "") for delta in deltas), ends[0]["conversation_token"]) if ends else None
