//! `kind: "package"`: one catalog entry a line, the stream between catalog tools.
