/// The output flags that every program of the suite takes. Flatten it into the program's arguments.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub struct Manners {
    /// Tell in detail what is done, on stderr (repeat for more)
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Say nothing but errors on stderr
    #[arg(short, long)]
    pub quiet: bool,
    /// Form of the messages on stderr: for people, or one JSON object a line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub message_format: MessageFormat,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageFormat {
    #[default]
    Human,
    Json,
}
