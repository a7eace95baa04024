//! The setting that somebody meant.

use crate::table::SETTINGS;

/// The most bytes of a name that are compared: twice the longest of the table.
const NAME_MAX: usize = 80;

/// The name most like this one: one that begins with it, else the one whose beginning takes the fewest changes, and of these the one
/// that takes the fewest as a whole. What stands before the dot does not count.
pub(crate) fn nearest(name: &str) -> &'static str {
    let name: String = name.chars().take(NAME_MAX).collect::<String>().to_lowercase().replace('-', "_");
    let names = || SETTINGS.iter().map(|setting| setting.name);
    let part = last_part(&name);
    let begins = |full: &&str| !part.is_empty() && (full.starts_with(&name) || last_part(full).starts_with(part));
    let changes = |full: &&str| {
        let distances = distances(part, last_part(full));
        (distances.iter().min().copied(), distances.last().copied())
    };
    names().find(begins).or_else(|| names().min_by_key(changes)).unwrap_or_default()
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Levenshtein's distance (letters changed, added or left out) of `a` to each beginning of `b`, the last one to `b` itself.
fn distances(a: &str, b: &str) -> Vec<usize> {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_mistype_leads_to_what_they_meant() {
        for (given, meant) in [
            ("share.cpu_precent", "share.cpu_percent"),
            ("share.cpu", "share.cpu_percent"),
            ("cpu_percent", "share.cpu_percent"),
            ("share.cpu-percent-in-use", "share.cpu_percent_in_use"),
            ("battery", "share.battery_min_percent"),
            ("Share.Preset", "share.preset"),
            ("schedul", "share.schedule"),
            ("share.wats", "share.watts_max"),
            ("share.gpus", "share.gpu"),
        ] {
            assert_eq!(nearest(given), meant, "{given}");
        }
        assert!(!nearest("").is_empty() && !nearest(&"é".repeat(100_000)).is_empty());
    }

    #[test]
    fn distances_are_levenshteins() {
        for (a, b, d) in
            [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("same", "same", 0), ("ab", "ba", 2)]
        {
            assert_eq!(distances(a, b).last(), Some(&d));
        }
    }
}
