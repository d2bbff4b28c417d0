//! A word of a command as the command gets it: text that is known, patterns of file names, and what only a run can tell.

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text that is known.
    Text(String),
    /// A pattern that the shell turns into names of files.
    Glob(String),
    /// What nobody knows before it runs.
    Unknown {
        /// How it is written.
        shown: String,
        /// Whether it may be nothing.
        empty: bool,
        /// Whether it is letters, digits and the like, which no shell reads as more than a word.
        plain: bool,
    },
}

/// A word of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    pub parts: Vec<Part>,
}

impl Word {
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            parts: vec![Part::Text(text.into())],
        }
    }

    /// A word of which nothing is known.
    pub fn unknown(shown: impl Into<String>) -> Self {
        Self {
            parts: vec![Part::Unknown {
                shown: shown.into(),
                empty: true,
                plain: false,
            }],
        }
    }

    /// Adds a piece, and joins text to text.
    pub fn push(&mut self, part: Part) {
        match (self.parts.last_mut(), part) {
            (Some(Part::Text(last)), Part::Text(more))
            | (Some(Part::Glob(last)), Part::Glob(more)) => last.push_str(&more),
            (_, part) => self.parts.push(part),
        }
    }

    pub fn extend(&mut self, other: &Self) {
        other.parts.iter().for_each(|part| self.push(part.clone()));
    }

    /// The whole word, where nothing of it depends on the run; a pattern stands for itself.
    pub fn known(&self) -> Option<String> {
        let mut known = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) | Part::Glob(text) => known.push_str(text),
                Part::Unknown { .. } => return None,
            }
        }
        Some(known)
    }

    /// The same without a copy, where the word is in one piece.
    pub fn as_text(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with which the word begins for certain.
    pub fn beginning(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text) | Part::Glob(text)) => text,
            _ => "",
        }
    }

    /// What is left of it when all that may be nothing is nothing; none where something is there for certain that is not known.
    pub fn least(&self) -> Option<String> {
        let mut least = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) | Part::Glob(text) => least.push_str(text),
                Part::Unknown { empty: true, .. } => {}
                Part::Unknown { empty: false, .. } => return None,
            }
        }
        Some(least)
    }

    pub fn is_known(&self) -> bool {
        let unknown = |part: &Part| matches!(part, Part::Unknown { .. });
        !self.parts.iter().any(unknown)
    }

    pub fn has_glob(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Glob(_)))
    }

    /// Whether a shell that reads the word as its program could find more in it than is written.
    pub fn is_open(&self) -> bool {
        let open = |part: &Part| matches!(part, Part::Unknown { plain: false, .. });
        self.parts.iter().any(open)
    }

    /// For people: what is not known stands as it was written.
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        for part in &self.parts {
            let (Part::Text(text) | Part::Glob(text) | Part::Unknown { shown: text, .. }) = part;
            shown.push_str(text);
        }
        shown
    }
}
