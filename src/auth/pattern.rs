//! Channel patterns of rules and guards, and the templates that use what they capture.
//!
//! A channel's name falls into segments at its dots. A segment of a pattern is text with at most one `{x}`, which stands
//! for one or more characters; so a name matches in one way only, and what is captured is never a matter of luck.

use crate::store::QuestionError;

/// A pattern over full channel names, such as `private-booking.{user}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    segments: Vec<Segment>,
}

/// `before{capture}after`, or the whole segment in `before`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    before: String,
    capture: Option<Capture>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Capture {
    name: String,
    after: String,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Pattern, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        let segments: Vec<Segment> = text
            .split('.')
            .map(|segment| Segment::parse(segment, text))
            .collect::<Result<_, _>>()?;
        let pattern = Pattern {
            text: text.to_owned(),
            segments,
        };
        let names: Vec<&str> = pattern.names().collect();
        match names
            .iter()
            .enumerate()
            .find(|(i, n)| names[..*i].contains(n))
        {
            Some((_, name)) => Err(PatternError::Repeated {
                pattern: text.to_owned(),
                name: (*name).to_owned(),
            }),
            None => Ok(pattern),
        }
    }

    /// What the captures stand for in this name, in order; `None` when the name does not match.
    pub(super) fn captures<'c>(&self, channel: &'c str) -> Option<Vec<&'c str>> {
        let mut captured = Vec::new();
        let mut given = channel.split('.');
        for segment in &self.segments {
            captured.extend(segment.matches(given.next()?)?);
        }
        given.next().is_none().then_some(captured)
    }

    /// How many captures it has.
    pub(super) fn capture_count(&self) -> usize {
        self.names().count()
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let captures = self.segments.iter().filter_map(|s| s.capture.as_ref());
        captures.map(|capture| capture.name.as_str())
    }
}

impl Segment {
    fn parse(segment: &str, pattern: &str) -> Result<Segment, PatternError> {
        let Some((before, rest)) = segment.split_once('{') else {
            return Ok(Segment {
                before: literal(segment, pattern)?,
                capture: None,
            });
        };
        let (name, after) = capture(rest, pattern)?;
        if after.contains('{') {
            return Err(PatternError::TwoCaptures {
                pattern: pattern.to_owned(),
                segment: segment.to_owned(),
            });
        }
        Ok(Segment {
            before: literal(before, pattern)?,
            capture: Some(Capture {
                name: name.to_owned(),
                after: literal(after, pattern)?,
            }),
        })
    }

    /// The outer `None`: no match. The inner: a match that captures nothing.
    fn matches<'c>(&self, given: &'c str) -> Option<Option<&'c str>> {
        let Some(capture) = &self.capture else {
            return (given == self.before).then_some(None);
        };
        let captured = given.strip_prefix(self.before.as_str())?;
        let captured = captured.strip_suffix(capture.after.as_str())?;
        (!captured.is_empty()).then_some(Some(captured))
    }
}

/// A value with captures filled in, such as `{user}` or `room-{room}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    /// Literal texts, each with the index of the capture that precedes it.
    parts: Vec<(usize, String)>,
    start: String,
}

impl Template {
    /// Reads a template that may name what `pattern` captures.
    pub(super) fn parse(text: &str, pattern: &Pattern) -> Result<Template, PatternError> {
        if text.is_empty() {
            return Err(PatternError::EmptyCondition {
                pattern: pattern.text.clone(),
            });
        }
        let (start, mut rest) = text
            .split_once('{')
            .map_or((text, None), |(s, r)| (s, Some(r)));
        let mut parts = Vec::new();
        while let Some(inside) = rest {
            let (name, after) = capture(inside, text)?;
            let index = pattern.names().position(|known| known == name);
            let index = index.ok_or_else(|| PatternError::UnknownCapture {
                template: text.to_owned(),
                name: name.to_owned(),
                pattern: pattern.text.clone(),
            })?;
            let literal = after.split_once('{').map_or(after, |(literal, _)| literal);
            rest = after.split_once('{').map(|(_, rest)| rest);
            parts.push((index, braceless(literal, text)?.to_owned()));
        }
        Ok(Template {
            start: braceless(start, text)?.to_owned(),
            parts,
        })
    }

    /// The value for what the template's own pattern captured.
    pub(super) fn fill(&self, captures: &[&str]) -> String {
        let mut filled = self.start.clone();
        for (index, literal) in &self.parts {
            filled.push_str(captures.get(*index).copied().unwrap_or_default());
            filled.push_str(literal);
        }
        filled
    }
}

/// Why a pattern or a template cannot be used. The fault is the config's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// No pattern at all.
    #[error("the channel pattern is empty")]
    Empty,
    /// A `user` or `claim` condition is an empty text, which nobody could meet.
    #[error("a condition on '{pattern}' is an empty text; leave it out or say what it must be")]
    EmptyCondition {
        /// The rule's pattern.
        pattern: String,
    },
    /// A `{` without its `}`, or the reverse.
    #[error("'{text}' has a brace without its partner; captures are written {{name}}")]
    Brace {
        /// The pattern or template.
        text: String,
    },
    /// What stands between the braces is no name.
    #[error("'{text}' captures '{{{name}}}'; a name is made of letters, digits and _")]
    Name {
        /// The pattern or template.
        text: String,
        /// What stands between the braces.
        name: String,
    },
    /// One segment with two captures could match in several ways.
    #[error("'{pattern}' captures twice in '{segment}'; put a dot between two captures")]
    TwoCaptures {
        /// The pattern.
        pattern: String,
        /// The part between dots.
        segment: String,
    },
    /// Two captures of the same name.
    #[error("'{pattern}' captures '{{{name}}}' twice")]
    Repeated {
        /// The pattern.
        pattern: String,
        /// The name.
        name: String,
    },
    /// A character that no channel name has, so that the pattern would never match.
    #[error("'{pattern}' has '{found}', which no channel name has; {{name}} stands for a segment")]
    Character {
        /// The pattern.
        pattern: String,
        /// The first such character.
        found: char,
    },
    /// The `sql` condition cannot be asked.
    #[error("'{pattern}': {problem}")]
    Sql {
        /// The rule's pattern.
        pattern: String,
        /// What is wrong with it.
        problem: QuestionError,
    },
    /// A condition uses what the channel pattern does not capture.
    #[error("'{template}' uses '{{{name}}}', which '{pattern}' does not capture")]
    UnknownCapture {
        /// The condition's value.
        template: String,
        /// The name it uses.
        name: String,
        /// The rule's pattern.
        pattern: String,
    },
}

/// Splits `name}after`.
fn capture<'t>(rest: &'t str, text: &str) -> Result<(&'t str, &'t str), PatternError> {
    let (name, after) = rest.split_once('}').ok_or_else(|| brace(text))?;
    if name.contains('{') {
        return Err(brace(text));
    }
    let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !fits {
        return Err(PatternError::Name {
            text: text.to_owned(),
            name: name.to_owned(),
        });
    }
    Ok((name, after))
}

/// The characters of channel names are Pusher's ("Channel naming conventions").
fn literal(literal: &str, pattern: &str) -> Result<String, PatternError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_=@,;#".contains(c);
    match braceless(literal, pattern)?.chars().find(|c| !legal(*c)) {
        Some(found) => Err(PatternError::Character {
            pattern: pattern.to_owned(),
            found,
        }),
        None => Ok(literal.to_owned()),
    }
}

fn braceless<'t>(literal: &'t str, text: &str) -> Result<&'t str, PatternError> {
    if literal.contains(['{', '}']) {
        return Err(brace(text));
    }
    Ok(literal)
}

fn brace(text: &str) -> PatternError {
    PatternError::Brace {
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures<'c>(pattern: &str, channel: &'c str) -> Option<Vec<&'c str>> {
        Pattern::parse(pattern).unwrap().captures(channel)
    }

    #[test]
    fn a_capture_is_one_segment_without_dots_and_never_empty() {
        let pattern = "private-booking.{user}";
        assert_eq!(captures(pattern, "private-booking.7"), Some(vec!["7"]));
        assert_eq!(
            captures(pattern, "private-booking.a-b@c"),
            Some(vec!["a-b@c"])
        );
        assert_eq!(captures(pattern, "private-booking."), None);
        assert_eq!(captures(pattern, "private-booking"), None);
        assert_eq!(captures(pattern, "private-booking.7.8"), None);
        assert_eq!(captures(pattern, "private-booking.7."), None);
        assert_eq!(captures(pattern, "xprivate-booking.7"), None);
    }

    #[test]
    fn a_pattern_without_captures_matches_its_own_text_only() {
        assert_eq!(captures("private-admin", "private-admin"), Some(vec![]));
        assert_eq!(captures("private-admin", "private-admin2"), None);
        assert_eq!(captures("private-admin", "private-admin.x"), None);
        assert_eq!(captures("private-admin", "private-Admin"), None);
    }

    #[test]
    fn several_captures_come_in_order_with_text_around_them() {
        let pattern = "presence-{team}-x.room.{room}-end";
        let channel = "presence-a-x-x.room.b-end-end";
        assert_eq!(captures(pattern, channel), Some(vec!["a-x", "b-end"]));
        assert_eq!(captures(pattern, "presence--x.room.b-end"), None);
        assert_eq!(captures("{kind}.{id}", "a.b"), Some(vec!["a", "b"]));
    }

    #[test]
    fn text_before_and_after_a_capture_may_not_overlap() {
        assert_eq!(captures("ab{x}ba", "aba"), None);
        assert_eq!(captures("ab{x}ba", "ab-ba"), Some(vec!["-"]));
    }

    #[test]
    fn what_cannot_be_a_pattern_is_refused_with_the_reason() {
        let error = |pattern| Pattern::parse(pattern).unwrap_err().to_string();
        assert_eq!(error(""), "the channel pattern is empty");
        assert!(error("private-{a").contains("brace without its partner"));
        assert!(error("private-a}").contains("brace without its partner"));
        assert!(error("private-{a{b}}").contains("brace without its partner"));
        assert!(error("private-{}").contains("captures '{}'"));
        assert!(error("private-{a b}").contains("letters, digits and _"));
        assert!(error("private-{a.b}").contains("brace without its partner"));
        assert!(error("private-{a}-{b}").contains("put a dot between"));
        assert!(error("private-{a}.{a}").contains("captures '{a}' twice"));
        assert!(error("private-*").contains("has '*', which no channel name has"));
    }

    #[test]
    fn templates_fill_in_what_was_captured() {
        let pattern = Pattern::parse("private-{a}.{b}").unwrap();
        let fill = |text| Template::parse(text, &pattern).unwrap().fill(&["1", "2"]);
        assert_eq!(fill("{b}"), "2");
        assert_eq!(fill("room {b}:{a}!"), "room 2:1!");
        assert_eq!(fill("fixed"), "fixed");
        assert_eq!(fill("{a}{a}"), "11");
    }

    #[test]
    fn templates_name_only_what_the_pattern_captures() {
        let pattern = Pattern::parse("private-{a}").unwrap();
        let error = |text| Template::parse(text, &pattern).unwrap_err().to_string();
        assert_eq!(
            error("{b}"),
            "'{b}' uses '{b}', which 'private-{a}' does not capture"
        );
        assert!(error("").contains("empty text"));
        for broken in ["{a", "a}", "{a}}", "{{a}"] {
            assert!(
                error(broken).contains("brace without its partner"),
                "{broken}"
            );
        }
    }
}
