#!/usr/bin/env bash
# One chat over all four of Holdall's APIs, streamed and not streamed. A token from one API works in
# the others.
#
#     holdall serve --dev &
#     examples/curl/apis.sh
#
# Needs curl and jq. Set HOLDALL_URL to use another address.
set -euo pipefail

url=${HOLDALL_URL:-http://127.0.0.1:8787}
token=null
events=$(mktemp)
trap 'rm -f "$events"' EXIT

# post PATH TEXT BODY: sends BODY and prints the response. BODY is a jq expression that can use
# $text, which is TEXT, and $token, which is the last token.
post() {
  jq -nc --arg text "$2" --argjson token "$token" "$3" |
    curl -sSN --fail-with-body "$url$1" -H 'content-type: application/json' -d @-
}

# A jq filter that reads the JSON of a server-sent event.
event='select(startswith("data: {"))[6:] | fromjson'

# show FILTER: prints the output of FILTER for each event as it arrives, and keeps the events for
# `find`.
show() {
  tee "$events" | jq -Rrj --unbuffered "$event | $1 // empty"
  echo
}

# find FILTER: prints the output of FILTER for the events of the last `show`, as JSON.
find() {
  jq -R "$event | $1 // empty" "$events"
}

echo "== /v1/turns: request and response have the token in \`token\`"
answer=$(post /v1/turns "My name is Ada." '{input: $text, token: $token}')
jq -r .reply <<<"$answer"
token=$(jq .token <<<"$answer")

post /v1/turns "What is my name?" '{input: $text, token: $token, stream: true}' | show .text
token=$(find .token)

echo "== /v1/responses: the response id is resp_ followed by the token"
answer=$(post /v1/responses "Count to 5." '{model: "default", input: $text, previous_response_id: ("resp_" + $token)}')
jq -r '.output[0].content[0].text' <<<"$answer"
token=$(jq '.id | ltrimstr("resp_")' <<<"$answer")

# Without `metadata`, the events wait for the complete reply, so that all of them can have its id.
post /v1/responses "What did I say first?" '{
  model: "default", input: $text, previous_response_id: ("resp_" + $token), stream: true,
  metadata: {holdall_stream: "live"}
}' | show 'select(.type == "response.output_text.delta").delta'
token=$(find 'select(.type == "response.completed").response.id | ltrimstr("resp_")')

echo "== /v1/chat/completions: request and response have the token in \`conversation_token\`"
answer=$(post /v1/chat/completions "Count to 6." '{
  model: "default", messages: [{role: "user", content: $text}], conversation_token: $token
}')
jq -r '.choices[0].message.content' <<<"$answer"
token=$(jq .conversation_token <<<"$answer")

post /v1/chat/completions "What is my name?" '{
  model: "default", messages: [{role: "user", content: $text}], conversation_token: $token, stream: true
}' | show '.choices[0].delta.content'
token=$(find .conversation_token)

echo "== /v1/messages: request and response have the token in \`conversation_token\`"
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

echo "== /v1/history: the messages in the token, for its owner"
post /v1/history "" '{token: $token}' | jq -r '.items[] | .role + ": " + .parts[0].text'
