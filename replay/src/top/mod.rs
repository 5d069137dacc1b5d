//! A tape that grows, on a screen.
