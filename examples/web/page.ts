/** A chat page: it shows the messages, the reply in progress, and what to do after a failure. All
 * text is inserted as text, never as HTML. */

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

/** True if the browser stores nothing. The chat then lasts as long as the page. */
let fleeting = false;
const chat = await Conversation.open({ url: server }).catch(() => {
  fleeting = true;
  return Conversation.open({ url: server, storage: memoryStorage() });
});
let turn: Turn | undefined;
let failure: HoldallError | undefined;
/** The token whose history the page shows. */
let shown: string | undefined;
/** True while another tab has a turn in progress that it had when this page was opened. */
let elsewhere = chat.state.busy;

/** Adds a message. Returns the element for its text. */
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
  if (item.t === "call") add("note", `tool call ${item.name}(${item.args})`);
}

async function showHistory(): Promise<void> {
  shown = chat.state.token;
  try {
    const { items } = await chat.history();
    // A newer state has arrived in the meantime.
    if (turn || chat.state.token !== shown) return;
    messages.replaceChildren();
    items.forEach(addItem);
    offerUnsent();
  } catch (error) {
    failed(error as HoldallError);
  }
}

/** The input that was not answered. */
const unanswered = () => chat.state.unsent ?? (failure?.answer ? undefined : failure?.input);

/** Shows the input that was not answered, in this page or before the page was closed. */
function offerUnsent(): void {
  const input = unanswered();
  if (input === undefined) {
    failed(undefined);
    if (elsewhere) note("A reply is in progress in another tab.");
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
  // A screen reader reads the reply once it is complete.
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
  // Another tab's turn came first.
  if (!failure && turns() !== before + 1) await showHistory();
}

/** Shows an error and what to do about it. Without an error it clears the notice. */
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
  // The notice takes room from the log. Scroll so that the end of the log stays visible.
  if (words !== "") requestAnimationFrame(() => (main.scrollTop = main.scrollHeight));
  for (const id of ["again", "shorter", "keep", "anew"]) $(id).hidden = true;
}

function explain(error: HoldallError): string {
  const kept = error.input === undefined ? "" : " Your text is kept.";
  const anew = error.input === undefined ? " Start a new one." : " Start a new one to send your text.";
  switch (error.code) {
    case "stopped":
      return "Stopped. The chat is unchanged.";
    case "network":
      return (navigator.onLine ? "The server cannot be reached." : "You are offline.") + kept;
    case "stream_lost":
      return "The connection was lost in the middle of the reply. The chat is unchanged." + kept;
    case "token_expired":
      return "This chat has expired." + anew;
    case "token_invalid":
      return "The server does not accept this chat: its keys or its users have changed." + anew;
    case "token_revoked":
    case "token_used":
      return "This chat has ended." + anew;
    case "history_too_large":
      return "This chat is too long for your text.";
    case "token_too_large":
      return "This chat is too long." + anew;
    case "storage_full":
      return "This browser has no room to store the chat. It continues until the page is closed.";
    case "conflict":
      return "Another tab has continued this chat. Its turn is stored, and yours is not.";
    default:
      return sentence(error) + wait(error) + kept;
  }
}

/** How long to wait. The messages of a Holdall server say it themselves. */
function wait({ code, retryAfterMs }: HoldallError): string {
  return code === "unexpected" && retryAfterMs ? ` Retry in ${Math.ceil(retryAfterMs / 1000)} s.` : "";
}

/** The error's message as a sentence, with a capital letter and an end mark. */
function sentence({ message }: HoldallError): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}${/[.!?]$/.test(message) ? "" : "."}`;
}

/** Updates the buttons and the line with turn, size and expiry. */
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
  standing.textContent = `${turns} turn${turns === 1 ? "" : "s"} · ${size} · ${expiry === "past" ? "expired" : "expires"} ${until}`;
}

/** Starts another chat, after the user has agreed to forget this one. */
function beginAsked(): void {
  const some = chat.state.conversation !== undefined || turn !== undefined || unanswered() !== undefined;
  if (!some || confirm("Start a new chat? This one will be forgotten.")) void begin();
}

/** Starts another chat, with `input` if it was not answered in this one. */
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
  // An older unanswered text goes back into the box, so that the user can send or delete it.
  const overtaken = wordsOf(unanswered());
  text.value = overtaken === words ? "" : overtaken;
  messages.querySelectorAll(".unsent, .cut").forEach((entry) => entry.remove());
  void say(words);
}

function sendAgain(options?: TurnOptions): void {
  // A failure without a text was a failure to read the history.
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
  // Not while an input method composes a character.
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
// A button that hides itself would lose the focus.
document.querySelector("footer")!.addEventListener("click", ({ target }) => {
  if (target instanceof HTMLButtonElement) text.focus();
});
chat.subscribe(() => {
  show();
  const ended = elsewhere && !chat.state.busy;
  if (ended) elsewhere = false;
  // Another tab has continued the chat, or was closed during a turn.
  if (!turn && (ended || chat.state.token !== shown)) void showHistory();
});

$<HTMLButtonElement>("send").disabled = false;
await showHistory();
if (fleeting) {
  note("This browser stores nothing for this page. The chat ends when you close the page.");
  $("fine").textContent = "The server stores nothing. This page keeps the chat until you close it.";
}
show();
text.focus();
