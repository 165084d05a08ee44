export interface components {
  schemas: {
    TurnRequest: {
      token?: string | null;
      input: string | components["schemas"]["InputElement"][];
      user_id?: string;
      model?: string;
      stream?: boolean;
      max_output_tokens?: number;
      temperature?: number;
      tools?: { name: string; description?: string; parameters?: unknown }[];
      tool_choice?: "auto" | "none" | "required" | { name: string };
      truncation?: "refuse" | "oldest" | "summarize";
    };
    Part: { text: string } | { image: string };
    InputElement:
      | components["schemas"]["Part"]
      | { t: "result"; id: string; out: string | components["schemas"]["Part"][]; error?: boolean };
    Item:
      | { t: "msg"; role: "user" | "assistant"; parts: components["schemas"]["Part"][]; cut?: boolean }
      | { t: "call"; id: string; name: string; args: string }
      | { t: "result"; id: string; out: string | components["schemas"]["Part"][]; error?: boolean }
      | { t: "think"; by: string; blob: string };
    ConversationInfo: {
      id: string;
      turn: number;
      started_at: string;
      expires_at: string;
      history_bytes: number;
      token_bytes: number;
      trimmed_items: number;
      summarized_items?: number;
      elided_images?: number;
    };
    TurnAnswer: {
      reply: string;
      output: components["schemas"]["Item"][];
      token: string;
      user_id: string;
      conversation: components["schemas"]["ConversationInfo"];
      usage: { input_tokens: number; output_tokens: number; cached_tokens: number };
      finish_reason: "stop" | "length" | "tool_calls" | "content_filter";
    };
    HistoryAnswer: { items: components["schemas"]["Item"][]; conversation: components["schemas"]["ConversationInfo"] };
    Problem: {
      type: string;
      title: string;
      status: number;
      detail: string;
      code: string;
      retry: "safe" | "after" | "never";
      retry_after_seconds?: number;
      request_id: string;
    };
    Partial: { reply: string; token: string };
  };
}
