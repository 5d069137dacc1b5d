//! Native stacks, frame by frame against the `backtrace` crate, on code of every shape; and what
//! must hold where that crate gives no answer.

#[cfg(test)]
mod bad_tables;
#[cfg(test)]
mod compile;
#[cfg(test)]
mod deep;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod incremental;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod loading;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod unknown_code;
