#!/usr/bin/env bash
# One chat at all four of Holdall's APIs, whole and streamed: any token works at any of them.
#
#     holdall serve --dev &
#     examples/curl/doors.sh
#
# Wants curl and jq. Set HOLDALL_URL for another address.
set -euo pipefail

url=${HOLDALL_URL:-http://127.0.0.1:8787}
token=null
events=$(mktemp)
trap 'rm -f "$events"' EXIT

# post PATH TEXT BODY: sends BODY, a jq expression in which $text and $token stand for what they say; prints the answer.
post() {
  jq -nc --arg text "$2" --argjson token "$token" "$3" |
    curl -sSN --fail-with-body "$url$1" -H 'content-type: application/json' -d @-
}

# The JSON of a server-sent event.
event='select(startswith("data: {"))[6:] | fromjson'

# show FILTER: prints what FILTER finds in each event as it comes, and keeps the events for `find`.
show() {
  tee "$events" | jq -Rrj --unbuffered "$event | $1 // empty"
  echo
}

# find FILTER: what FILTER finds in the events that were shown last, as JSON.
find() {
  jq -R "$event | $1 // empty" "$events"
}

echo "== /v1/turns: the token is a member, in and out"
answer=$(post /v1/turns "My name is Ada." '{input: $text, token: $token}')
jq -r .reply <<<"$answer"
token=$(jq .token <<<"$answer")

post /v1/turns "What is my name?" '{input: $text, token: $token, stream: true}' | show .text
token=$(find .token)

echo "== /v1/responses: the token is the id, after resp_"
answer=$(post /v1/responses "Count to 5." '{model: "default", input: $text, previous_response_id: ("resp_" + $token)}')
jq -r '.output[0].content[0].text' <<<"$answer"
token=$(jq '.id | ltrimstr("resp_")' <<<"$answer")

# Without `metadata` the events wait for the whole reply, so that its id can stand in all of them.
post /v1/responses "What did I say first?" '{
  model: "default", input: $text, previous_response_id: ("resp_" + $token), stream: true,
  metadata: {holdall_stream: "live"}
}' | show 'select(.type == "response.output_text.delta").delta'
token=$(find 'select(.type == "response.completed").response.id | ltrimstr("resp_")')

echo "== /v1/chat/completions: the token is conversation_token, in and out"
answer=$(post /v1/chat/completions "Count to 6." '{
  model: "default", messages: [{role: "user", content: $text}], conversation_token: $token
}')
jq -r '.choices[0].message.content' <<<"$answer"
token=$(jq .conversation_token <<<"$answer")

post /v1/chat/completions "What is my name?" '{
  model: "default", messages: [{role: "user", content: $text}], conversation_token: $token, stream: true
}' | show '.choices[0].delta.content'
token=$(find .conversation_token)

echo "== /v1/messages: likewise"
answer=$(post /v1/messages "Count to 7." '{
  model: "default", max_tokens: 1000, messages: [{role: "user", content: $text}], conversation_token: $token
}')
jq -r '.content[0].text' <<<"$answer"
token=$(jq .conversation_token <<<"$answer")

post /v1/messages "How many turns do you see?" '{
  model: "default", max_tokens: 1000, messages: [{role: "user", content: $text}], conversation_token: $token,
  stream: true
}' | show '.delta.text'
token=$(find 'select(.type == "message_stop").conversation_token')

echo "== /v1/history: what the token holds, for its owner"
post /v1/history "" '{token: $token}' | jq -r '.items[] | .role + ": " + .parts[0].text'
