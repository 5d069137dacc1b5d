//! Words as a shell reads them back.

/// A command and its arguments.
pub(crate) fn command_line(command: &[String]) -> String {
    let quoted = command.iter().map(|word| shell_word(word));
    quoted.collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it back.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:,+@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else if word.contains(char::is_control) {
        format!("$'{}'", escaped(word))
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The inside of `$'…'`.
fn escaped(word: &str) -> String {
    let mut text = String::new();
    for letter in word.chars() {
        match letter {
            '\'' | '\\' => text.extend(['\\', letter]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            _ if letter.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_in_commands_are_escaped() {
        let words = ["python3", "-c", "a = 'x'\nb = \"\\n\"\t\x1b"].map(String::from);
        assert_eq!(
            command_line(&words),
            r#"python3 -c $'a = \'x\'\nb = "\\n"\t\u001b'"#
        );
    }

    #[test]
    fn commands_are_quoted_as_a_shell_reads_them() {
        let words = ["sh", "-c", "echo 'a b'", ""].map(String::from);
        assert_eq!(command_line(&words), r#"sh -c 'echo '\''a b'\''' ''"#);
    }
}
