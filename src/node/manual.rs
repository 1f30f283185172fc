//! Manual pages of section 1: one of the program and one of each command, from the same definitions as `--help`. What
//! no definition says (exit codes, signals, files) is written by hand in `man/s3-orchestrator.1.in`.

use clap::Command;
use clap_mangen::Man;
use std::io;

pub const NAME: &str = "s3-orchestrator";
/// Of the page of the program, behind what is made.
const BY_HAND: &str = include_str!("../../man/s3-orchestrator.1.in");
/// When what the pages say was last changed by hand.
const DATE: &str = "2026-11-26";

/// Each page's file name and text.
pub fn pages(command: &mut Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    command.build();
    let mut pages = vec![(file_name(command), page(command, BY_HAND)?)];
    below(command, &mut pages)?;
    Ok(pages)
}

fn below(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let parent = file_name(command);
        let above = parent.trim_end_matches(".1").replace('-', "\\-");
        let mut more = format!(".SH \"SEE ALSO\"\n.BR {above} (1)");
        if above != "s3\\-orchestrator" {
            more += ",\n.BR s3\\-orchestrator (1)";
        }
        pages.push((file_name(sub), page(sub, &more)?));
        below(sub, pages)?;
    }
    Ok(())
}

/// `s3-orchestrator-credentials-add.1`
fn file_name(command: &Command) -> String {
    format!("{}.1", command.get_display_name().unwrap_or(NAME))
}

fn page(command: &Command, more: &str) -> io::Result<Vec<u8>> {
    let source = format!("{NAME} {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).date(DATE).source(source).manual("User Commands");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut text)?;
    }
    if command.get_subcommands().any(|sub| sub.get_name() != "help") {
        man.render_subcommands_section(&mut text)?;
    }
    text.extend_from_slice(more.as_bytes());
    Ok(tidy(&String::from_utf8_lossy(&text)).into_bytes())
}

/// Without blanks at the ends of lines. An empty line is a request for a paragraph, which roff wants to be asked for, and
/// once.
fn tidy(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        let (line, before) = (if line.is_empty() { ".sp" } else { line }, lines.last().copied());
        match (before, line) {
            (Some(".br"), ".sp") => drop(lines.pop()),
            (Some(".sp"), ".br" | ".sp") => continue,
            _ => {}
        }
        lines.push(line);
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_roff_likes_them() {
        assert_eq!(tidy("a  \n\nb"), "a\n.sp\nb\n");
        assert_eq!(tidy("a\n.br\n\n.br\nb"), "a\n.sp\nb\n");
    }
}
