/** A chat page: what was said, what is being said, and what to do when that fails. All text goes in as text. */

import {
  Conversation,
  memoryStorage,
  type HoldallError,
  type Input,
  type Item,
  type Turn,
  type TurnOptions,
} from "./holdall";

const $ = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const main = document.querySelector("main")!;
const log = $("log");
const messages = $("messages");
const text = $<HTMLTextAreaElement>("text");
const server = document.querySelector<HTMLMetaElement>("meta[name=holdall]")!.content;

/** Whether the browser stores nothing: then the chat lasts as long as the page. */
let fleeting = false;
const chat = await Conversation.open({ url: server }).catch(() => {
  fleeting = true;
  return Conversation.open({ url: server, storage: memoryStorage() });
});
let turn: Turn | undefined;
let failure: HoldallError | undefined;
/** The token whose history the page shows. */
let shown: string | undefined;
/** Whether another tab had a turn under way when the page was opened, and has it still. */
let elsewhere = chat.state.busy;

/** Adds a message; the element that its text goes into. */
function add(role: string, words = ""): HTMLElement {
  const entry = document.createElement("li");
  entry.className = role;
  const speaker = document.createElement("span");
  speaker.className = "unseen";
  speaker.textContent = role === "user" ? "You: " : role === "assistant" ? "Model: " : "Note: ";
  const said = document.createElement("p");
  said.textContent = words;
  entry.append(speaker, said);
  messages.append(entry);
  entry.scrollIntoView({ block: "end" });
  return said;
}

function wordsOf(input: Input | undefined): string {
  if (input === undefined || typeof input === "string") return input ?? "";
  return input.map((part) => ("text" in part ? part.text : "")).join("");
}

function addItem(item: Item): void {
  if (item.t === "msg") add(item.role, wordsOf(item.parts) + (item.cut ? " …" : ""));
  if (item.t === "call") add("note", `calls ${item.name}(${item.args})`);
}

async function showHistory(): Promise<void> {
  shown = chat.state.token;
  try {
    const { items } = await chat.history();
    // What came meanwhile is newer.
    if (turn || chat.state.token !== shown) return;
    messages.replaceChildren();
    items.forEach(addItem);
    offerUnsent();
  } catch (error) {
    failed(error as HoldallError);
  }
}

/** What was said and not answered. */
const unanswered = () => chat.state.unsent ?? (failure?.answer ? undefined : failure?.input);

/** Shows what was not answered, here or before the page was closed. */
function offerUnsent(): void {
  const input = unanswered();
  if (input === undefined) {
    failed(undefined);
    if (elsewhere) note("A reply is under way in another tab.");
    return;
  }
  add("user", wordsOf(input)).parentElement!.classList.add("unsent");
  if (failure?.input !== undefined) return;
  failed(undefined);
  note("This was not answered before the page was closed.");
  $("again").textContent = "Send again";
  $("again").hidden = false;
}

const turns = () => chat.state.conversation?.turn ?? 0;

async function say(input: Input, options?: TurnOptions): Promise<void> {
  const before = turns();
  turn = chat.send(input, options);
  failed(undefined);
  const mine = add("user", wordsOf(input)).parentElement!;
  const reply = add("assistant");
  const entry = reply.parentElement!;
  entry.classList.add("waiting");
  // A screen reader says the reply once it is whole.
  log.setAttribute("aria-busy", "true");
  try {
    for await (const event of turn) {
      if (event.type === "retry") note(`${sentence(event.error)} Trying again in ${Math.ceil(event.waitMs / 1000)} s.`);
      if (event.type === "delta") {
        note("");
        entry.classList.remove("waiting");
        const follow = main.scrollHeight - main.scrollTop - main.clientHeight < 80;
        reply.append(event.text);
        if (follow) main.scrollTop = main.scrollHeight;
      }
    }
    shown = chat.state.token;
  } catch (thrown) {
    const error = thrown as HoldallError;
    if (error.answer) shown = chat.state.token;
    else mine.classList.add("unsent");
    if (reply.textContent === "") entry.remove();
    else if (!error.answer) entry.classList.add("cut");
    failed(error);
  } finally {
    entry.classList.remove("waiting");
    turn = undefined;
    log.removeAttribute("aria-busy");
    show();
  }
  // Another tab's turn came before this one.
  if (!failure && turns() !== before + 1) await showHistory();
}

/** What is to be known and done about a failure; nothing if there is none. */
function failed(error: HoldallError | undefined): void {
  failure = error;
  note(error ? explain(error) : "");
  const tooLong = error?.code === "history_too_large";
  $("again").hidden = !error || error.answer !== undefined || error.final || tooLong;
  $("again").textContent = error?.input === undefined ? "Try again" : "Send again";
  $("shorter").hidden = !tooLong || error?.input === undefined;
  $("keep").hidden = !error?.partial && error?.code !== "conflict";
  $("anew").hidden = !error?.final && !tooLong;
}

function note(words: string): void {
  $("what").textContent = words;
  $("notice").hidden = words === "";
  // It takes room from the log, whose end is what it is about.
  if (words !== "") requestAnimationFrame(() => (main.scrollTop = main.scrollHeight));
  for (const id of ["again", "shorter", "keep", "anew"]) $(id).hidden = true;
}

function explain(error: HoldallError): string {
  const kept = error.input === undefined ? "" : " What you wrote is kept.";
  const anew = error.input === undefined ? " Begin a new one." : " Begin a new one to send what you wrote.";
  switch (error.code) {
    case "stopped":
      return "Stopped. The chat is where it was before.";
    case "network":
      return (navigator.onLine ? "The server cannot be reached." : "You are offline.") + kept;
    case "stream_lost":
      return "The connection was lost in the middle of the reply. The chat is where it was before." + kept;
    case "token_expired":
      return "This chat has expired." + anew;
    case "token_invalid":
      return "The server does not accept this chat: its keys or its users have changed." + anew;
    case "token_revoked":
    case "token_used":
      return "This chat has ended." + anew;
    case "history_too_large":
      return "This chat has grown too long for what you wrote.";
    case "token_too_large":
      return "This chat has grown too long." + anew;
    case "storage_full":
      return "There is no room to keep this chat: it goes on until the page is closed.";
    case "conflict":
      return "Another tab has gone on with this chat. Its turn stands.";
    default:
      return (
        sentence(error) + (error.retryAfterMs ? ` Try again in ${Math.ceil(error.retryAfterMs / 1000)} s.` : "") + kept
      );
  }
}

function sentence({ message }: HoldallError): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
}

/** Brings buttons and standing up to date. */
function show(): void {
  const { conversation, expiry } = chat.state;
  $("send").hidden = turn !== undefined;
  $("stop").hidden = turn === undefined;
  const standing = $("standing");
  standing.dataset.expiry = expiry;
  if (!conversation) {
    standing.textContent = "A new chat";
    return;
  }
  const { turn: turns, token_bytes, expires_at } = conversation;
  const day = { day: "numeric", month: "short" } as const;
  const until = new Date(expires_at).toLocaleString(
    [],
    expiry === "good" ? day : { hour: "numeric", minute: "2-digit", ...day },
  );
  const size = token_bytes < 10_000 ? `${token_bytes} bytes` : `${Math.round(token_bytes / 1024)} KB`;
  standing.textContent = `${turns} turn${turns === 1 ? "" : "s"} · ${size} · ${expiry === "past" ? "expired" : "until"} ${until}`;
}

/** Begins another chat, if this one may be forgotten. */
function beginAsked(): void {
  const some = chat.state.conversation !== undefined || turn !== undefined || unanswered() !== undefined;
  if (!some || confirm("Begin a new chat? This one will be forgotten.")) void begin();
}

/** Begins another chat, with what was not answered in this one if there is something. */
async function begin(input?: Input): Promise<void> {
  await chat.reset();
  shown = undefined;
  failed(undefined);
  messages.replaceChildren();
  show();
  text.focus();
  if (input !== undefined) await say(input);
}

function submit(): void {
  const words = text.value.trim();
  if (words === "" || turn) return;
  // What is overtaken is not lost: it is to be sent next, or deleted.
  const overtaken = wordsOf(unanswered());
  text.value = overtaken === words ? "" : overtaken;
  messages.querySelectorAll(".unsent, .cut").forEach((entry) => entry.remove());
  void say(words);
}

function sendAgain(options?: TurnOptions): void {
  // What failed without a text was the reading of the history.
  const input = failure ? failure.input : chat.state.unsent;
  messages.querySelectorAll(".unsent, .cut").forEach((entry) => entry.remove());
  void (input === undefined ? showHistory() : say(input, options));
}

async function keep(): Promise<void> {
  const successor = failure?.partial ?? failure?.answer;
  if (!successor) return;
  try {
    await chat.keep(successor);
    failed(undefined);
    await showHistory();
  } catch (error) {
    failed(error as HoldallError);
  }
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
text.addEventListener("keydown", (event) => {
  // Not while an input method is composing a character.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit();
  }
});
$("stop").addEventListener("click", () => turn?.stop());
$("again").addEventListener("click", () => sendAgain());
$("shorter").addEventListener("click", () => sendAgain({ truncation: "oldest" }));
$("keep").addEventListener("click", () => void keep());
$("anew").addEventListener("click", () => void begin(failure?.input));
$("new").addEventListener("click", beginAsked);
// A button that hides itself would take the focus with it.
document.querySelector("footer")!.addEventListener("click", ({ target }) => {
  if (target instanceof HTMLButtonElement) text.focus();
});
chat.subscribe(() => {
  show();
  const ended = elsewhere && !chat.state.busy;
  if (ended) elsewhere = false;
  // Another tab has gone on, or was closed in the middle of it.
  if (!turn && (ended || chat.state.token !== shown)) void showHistory();
});

$<HTMLButtonElement>("send").disabled = false;
await showHistory();
if (fleeting) {
  note("This browser keeps nothing for this page: the chat ends when it is closed.");
  $("fine").textContent = "The server keeps nothing; this page holds the chat until it is closed.";
}
show();
text.focus();
