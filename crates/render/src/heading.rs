use striate_graph::Graph;

use crate::number::thousands;

/// What a table says above its rows, and what else a graph does not know about itself. All fields
/// may be empty; a network read from a file has a name at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heading<'a> {
    /// What it is called everywhere: `vgg16`.
    pub name: &'a str,
    /// What people call it: `VGG-16`.
    pub title: &'a str,
    /// The family it belongs to.
    pub family: &'a str,
    /// Whose network it is: `torchvision`.
    pub edition: &'a str,
    /// Where it was published.
    pub paper: Option<Paper<'a>>,
    /// What the parameters of each node are called in files, one key a node, as `Naming::keys` gives
    /// them. Missing keys are the names of the nodes.
    pub weights: &'a [String],
    /// The most memory a planned execution holds at once, zero if nobody planned one.
    pub planned_peak_bytes: u64,
}

/// A publication.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paper<'a> {
    /// Title.
    pub title: &'a str,
    /// Authors, as printed.
    pub authors: &'a str,
    /// Year of first publication.
    pub year: u16,
    /// arXiv number, or where it was printed.
    pub id: &'a str,
}

impl Heading<'_> {
    /// The lines above a table.
    pub(crate) fn lines(&self, graph: &Graph, batch: usize) -> Vec<String> {
        let edition = match self.edition {
            "" => String::new(),
            edition => format!("{edition} edition"),
        };
        let mut lines = vec![join(&[self.title, self.name, self.family, &edition])];
        if let Some(Paper { title, authors, year, id }) = self.paper {
            lines.push(format!("{authors} ({year}): {title}. {id}"));
        }
        let (input, classes) = (graph.input(), thousands(graph.classes() as u64));
        lines.push(match batch {
            1 => format!("Input {input}, {classes} classes"),
            _ => format!(
                "Input {input}, {classes} classes; all but parameters for a batch of {batch}"
            ),
        });
        lines.retain(|line| !line.is_empty());
        lines
    }

    /// The key of a node's parameters.
    pub(crate) fn weights_of<'s>(&'s self, index: usize, name: &'s str) -> &'s str {
        self.weights.get(index).map_or(name, String::as_str)
    }
}

/// What is there, once each.
fn join(parts: &[&str]) -> String {
    let mut said: Vec<&str> = Vec::new();
    for part in parts {
        if !part.is_empty() && !said.contains(part) {
            said.push(part);
        }
    }
    said.join(" · ")
}
