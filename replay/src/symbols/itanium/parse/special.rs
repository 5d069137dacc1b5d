//! What compilers make for classes, functions and objects: `<special-name>`.

use super::Parser;
use super::encoding::Results;
use crate::symbols::itanium::tree::{Entity, NodeId};

impl Parser<'_> {
    /// ```text
    /// <special-name> ::= TV <type>                      # virtual table
    ///                ::= TT <type>                      # table of virtual tables
    ///                ::= TI <type>                      # typeinfo
    ///                ::= TS <type>                      # typeinfo name
    ///                ::= TC <type> <number> _ <type>    # construction virtual table
    ///                ::= TA <template-arg>              # template parameter object
    ///                ::= TH <name>                      # initialization of a thread's
    ///                ::= TW <name>                      # access to a thread's
    ///                ::= T <call-offset> <encoding>     # thunk
    ///                ::= Tc <call-offset> <call-offset> <encoding>
    ///                ::= GV <name>                      # guard
    ///                ::= GR <name> <seq-id> _           # temporary of long life
    ///                ::= GA <encoding>                  # hidden alias
    ///                ::= GI <module-name>               # initializer of a module
    ///                ::= GT <letter> <encoding>         # transaction's entry point
    /// ```
    pub(super) fn special_name(&mut self) -> Option<NodeId> {
        match self.next()? {
            b'T' => self.table_or_thunk(),
            b'G' => self.guard_or_clone(),
            _ => None,
        }
    }

    fn table_or_thunk(&mut self) -> Option<NodeId> {
        let letter = self.peek()?;
        let thunk = match letter {
            b'h' => Some("non-virtual thunk to "),
            b'v' => Some("virtual thunk to "),
            _ => None,
        };
        if let Some(words) = thunk {
            self.call_offset()?;
            return self.special_encoding(words);
        }
        self.position += 1;
        match letter {
            b'V' => self.special_type("vtable for "),
            b'T' => self.special_type("VTT for "),
            b'I' => self.special_type("typeinfo for "),
            b'S' => self.special_type("typeinfo name for "),
            b'F' => self.special_type("typeinfo fn for "),
            b'C' => self.construction_vtable(),
            b'H' => self.special_object("TLS init function for "),
            b'W' => self.special_object("TLS wrapper function for "),
            b'A' => {
                let of = self.template_argument()?;
                self.special("template parameter object for ", of)
            }
            b'c' => {
                self.call_offset()?;
                self.call_offset()?;
                self.special_encoding("covariant return thunk to ")
            }
            _ => None,
        }
    }

    fn guard_or_clone(&mut self) -> Option<NodeId> {
        match self.next()? {
            b'V' => self.special_object("guard variable for "),
            b'R' => self.reference_temporary(),
            b'A' => self.special_encoding("hidden alias for "),
            b'I' => {
                let parent = match self.peek()? {
                    b'S' => Some(self.substitution()?),
                    _ => None,
                };
                let of = self.module_name(parent).filter(|of| self.is_module(*of))?;
                self.special("initializer for module ", of)
            }
            b'T' => match self.next()? {
                b'n' => self.special_encoding("non-transaction clone for "),
                _ => self.special_encoding("transaction clone for "),
            },
            _ => None,
        }
    }

    fn special_type(&mut self, words: &'static str) -> Option<NodeId> {
        let of = self.read_type()?;
        self.special(words, of)
    }

    fn special_object(&mut self, words: &'static str) -> Option<NodeId> {
        let of = self.name()?;
        self.special(words, of)
    }

    fn special_encoding(&mut self, words: &'static str) -> Option<NodeId> {
        let of = self.encoding(Results::Hidden)?;
        self.special(words, of)
    }

    fn special(&mut self, words: &'static str, of: NodeId) -> Option<NodeId> {
        self.entity_node(Entity::Special { words, of })
    }

    /// What follows `TC`.
    fn construction_vtable(&mut self) -> Option<NodeId> {
        let derived = self.read_type()?;
        self.digits()?;
        self.require("_")?;
        let base = self.read_type()?;
        self.entity_node(Entity::ConstructionVtable { base, derived })
    }

    /// What follows `GR`. The first temporary has no `<seq-id>`; older compilers leave out the
    /// underscore and number from 0.
    fn reference_temporary(&mut self) -> Option<NodeId> {
        let name = self.name()?;
        let number = self.digits()?.parse().unwrap_or(0);
        self.skip("_");
        self.entity_node(Entity::ReferenceTemporary { name, number })
    }

    /// ```text
    /// <call-offset> ::= h <nv-offset number> _
    ///               ::= v <offset number> _ <virtual offset number> _
    /// ```
    fn call_offset(&mut self) -> Option<()> {
        let is_virtual = match self.next()? {
            b'h' => false,
            b'v' => true,
            _ => return None,
        };
        self.number()?;
        if is_virtual {
            self.require("_")?;
            self.number()?;
        }
        self.require("_")
    }
}
