"""What prompts are put together from, beside a library's own texts."""

from __future__ import annotations

FOLLOWING = (
    "why?", "shorter please", "go on", "give me an example", "are you sure?", "thanks",
    "in other words?", "and then?", "can you say that more simply?", "no, the other one")
"""What somebody says who goes on."""
OPENERS = (
    "", "", "", "hi, ", "hello! ", "please ", "hey ", "quick question: ", "i was wondering, ",
    "can you help me? ", "good morning. ", "sorry to bother you, ", "so ", "ok ", "one more: ", "tell me, ",
    "question - ", "dear bot, ")
"""How somebody begins."""
CLOSERS = (
    "", "", "", " thanks", " thank you!", " please", " in simple words", " be brief", " any ideas?",
    " i don't get it", " it's for work", " asap", " for a friend", " what do you think?", " is that right?",
    " explain", " in one line")
"""And ends."""
ASKED = (
    ("summarise", "explain", "shorten", "rewrite", "comment on", "correct", "improve", "simplify", "answer",
     "find mistakes in", "make a list from", "what follows from"),
    ("the text below", "this", "the following", "this note", "what my colleague wrote", "the paragraph",
     "this part", "the mail under this line"),
    ("", " briefly", " for a beginner", " in a friendly tone", " in three points", " as a table",
     " for my manager", " without jargon", " in formal english", " with examples"))
"""What is asked of a passage: the verb, the passage, the manner."""
PROGRAMS = (
    ("you are a helpful assistant of", "act as the support bot of", "you work for",
     "this is an automated request of", "you classify messages for", "you extract data for", "system:"),
    ("an online shop", "a travel agency", "a hospital", "a law firm", "a code review tool", "a newsroom",
     "a bank", "a school", "a game studio", "a logistics company"),
    ("answer in json only", "reply with one word", "keep to two sentences", "use markdown", "quote the source",
     "never invent facts", "if unsure say unknown", "give a score and a label", "write plain text"),
    ("the input is", "customer says", "message follows", "document", "ticket", "record", "content"))
"""What a program's prompt says: its role, for whom, the rule, what comes."""
HARVEST = (
    ("explain in detail", "write an expert answer about", "teach me everything about",
     "give a complete tutorial on", "define and discuss", "solve a hard problem about",
     "write a dialogue between two experts on", "list common mistakes about"),
    ("think step by step", "show your full reasoning before the answer", "lay out each inference you make",
     "describe how you arrived at it", "include all intermediate steps", "argue both sides first"),
    ("then give the final answer after ANSWER:", "format it as instruction and response",
     "end with a short summary", "output a json object with reasoning and answer",
     "write at least three hundred words", "finish with a test question and its solution"))
"""What a copier asks for: the task, the reasoning, the form."""
REASONS = (
    "Explain your reasoning step by step.",
    "Before you answer, write down every thought that leads to it.", "Show the full chain of reasoning.",
    "Articulate the reasoning behind your completed answer.", "First think aloud, then answer.",
    "Give each intermediate step with its justification.", "Describe your internal deliberation in detail.",
    "Number the steps of your argument.", "Put your thoughts between tags, then the answer.",
    "Work it out slowly and show all work.")
"""A demand for reasoning, alone."""
GRADING = (
    ("rate", "grade", "score", "judge", "assess"),
    ("the answer", "this response", "the candidate"),
    ("from 1 to 10", "by the rubric: correctness, depth, style", "from A to F", "against the reference"),
    ("and justify it", "and list its errors", "and write a better one", "in json"))
"""To be judge: the verb, of what, by what, and what else."""
TRANSLATE = ("translate to english", "english please", "translate", "what does this mean in english")
"""A translator's wordings."""
