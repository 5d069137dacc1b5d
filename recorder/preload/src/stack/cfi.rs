//! Finds the description of a function's frames: the unwind sections of a module and a program
//! counter go in, the function's FDE and its CIE come out. It reads only the sections it is given
//! and stops at anything that it does not understand.

use super::reader::{PointerEncoding, Reader, Section};

/// What a CIE says of all functions that refer to it.
#[derive(Debug, Clone)]
pub struct Cie<'a> {
    /// Unit of the program's steps through the code, in bytes.
    pub code_factor: u64,
    /// Unit of the program's offsets from the CFA, in bytes.
    pub data_factor: i64,
    /// Number of the register that stands for the return address.
    pub return_register: u64,
    /// The frames are those of a signal trampoline: what they return to was interrupted and did
    /// not call.
    pub is_signal: bool,
    /// How the FDE stores addresses of code.
    pub encoding: PointerEncoding,
    /// True when each FDE says how long its own augmentation is.
    has_augmentation: bool,
    /// Instructions that come before those of each FDE.
    pub program: Reader<'a>,
}

/// One function, or a part of one.
#[derive(Debug, Clone)]
pub struct Fde<'a> {
    /// The CIE it refers to.
    pub cie: Cie<'a>,
    /// Address of its first instruction.
    pub start: usize,
    /// Bytes of code that it covers.
    pub length: usize,
    /// Instructions that tell how its frames change from one address to the next.
    pub program: Reader<'a>,
}

impl Fde<'_> {
    /// True when `pc` lies in the code that is described.
    #[must_use]
    pub fn covers(&self, pc: usize) -> bool {
        pc.wrapping_sub(self.start) < self.length
    }
}

/// What `.eh_frame_hdr` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The table names this address of an FDE.
    At(usize),
    /// The table covers the module but not this program counter.
    Nowhere,
    /// There is no sorted table: the entries from this address on must be tried one by one.
    ScanFrom(usize),
}

/// Looks `pc` up in the header at address `header` of `section`.
#[must_use]
pub fn look_up(section: &Section<'_>, header: usize, pc: usize) -> Option<Lookup> {
    let mut reader = section.reader_at(header)?;
    if reader.u8()? != 1 {
        return None;
    }
    let frame_encoding = PointerEncoding(reader.u8()?);
    let count_encoding = PointerEncoding(reader.u8()?);
    let table_encoding = PointerEncoding(reader.u8()?);
    let frames = reader.pointer(frame_encoding, header)?;
    if count_encoding == PointerEncoding::OMITTED
        || table_encoding != PointerEncoding::HEADER_SIGNED_4
    {
        return Some(Lookup::ScanFrom(frames));
    }
    let count = reader.pointer(count_encoding, header)?;
    let table = reader.take(count.checked_mul(8)?)?;
    let (rows, _) = table.as_chunks::<8>();
    let start_of = |row: &[u8; 8]| {
        let [a, b, c, d, ..] = *row;
        header.wrapping_add_signed(i32::from_le_bytes([a, b, c, d]) as isize)
    };
    let after = rows.partition_point(|row| start_of(row) <= pc);
    let Some(row) = after.checked_sub(1).and_then(|last| rows.get(last)) else {
        return Some(Lookup::Nowhere);
    };
    let [.., a, b, c, d] = *row;
    let distance = i32::from_le_bytes([a, b, c, d]) as isize;
    Some(Lookup::At(header.wrapping_add_signed(distance)))
}

/// One entry of `.eh_frame`, its kind still open.
struct Entry<'a> {
    /// What follows the field that tells a CIE from an FDE.
    body: Reader<'a>,
    /// Address of that field.
    link_address: usize,
    /// Its value: 0 in a CIE, the distance back to the CIE in an FDE.
    link: usize,
}

fn entry<'a>(reader: &mut Reader<'a>) -> Option<Entry<'a>> {
    const LONG: u32 = u32::MAX;
    let length = match reader.u32()? {
        LONG => usize::try_from(reader.u64()?).ok()?,
        short => short as usize,
    };
    if length == 0 {
        return None;
    }
    let mut body = reader.first(length)?;
    reader.skip(length)?;
    let link_address = body.address();
    let link = body.u32()? as usize;
    Some(Entry {
        body,
        link_address,
        link,
    })
}

/// Reads the FDE at `address`.
#[must_use]
pub fn fde_at<'a>(section: &Section<'a>, address: usize, header: usize) -> Option<Fde<'a>> {
    let entry = entry(&mut section.reader_at(address)?)?;
    fde(section, entry, header)
}

/// Tries all entries from `address` to the end of the section for one that covers `pc`.
#[must_use]
pub fn scan<'a>(section: &Section<'a>, address: usize, pc: usize) -> Option<Fde<'a>> {
    let mut reader = section.reader_at(address)?;
    while let Some(entry) = entry(&mut reader) {
        if entry.link == 0 {
            continue;
        }
        if let Some(fde) = fde(section, entry, 0)
            && fde.covers(pc)
        {
            return Some(fde);
        }
    }
    None
}

fn fde<'a>(section: &Section<'a>, entry: Entry<'a>, header: usize) -> Option<Fde<'a>> {
    if entry.link == 0 {
        return None;
    }
    let cie_address = entry.link_address.checked_sub(entry.link)?;
    let cie = cie_at(section, cie_address)?;
    let mut body = entry.body;
    let start = body.pointer(cie.encoding, header)?;
    let length = body.range(cie.encoding)?;
    if cie.has_augmentation {
        let bytes = usize::try_from(body.uleb()?).ok()?;
        body.skip(bytes)?;
    }
    Some(Fde {
        cie,
        start,
        length,
        program: body,
    })
}

fn cie_at<'a>(section: &Section<'a>, address: usize) -> Option<Cie<'a>> {
    let entry = entry(&mut section.reader_at(address)?)?;
    if entry.link != 0 {
        return None;
    }
    let mut body = entry.body;
    let version = body.u8()?;
    let augmentation = body.text()?;
    match version {
        1 | 3 => {}
        // Version 4 adds the size of an address and of a segment selector.
        4 if body.take(2)? == [8, 0] => {}
        _ => return None,
    }
    let code_factor = body.uleb()?;
    let data_factor = body.sleb()?;
    let return_register = match version {
        1 => u64::from(body.u8()?),
        _ => body.uleb()?,
    };
    let mut cie = Cie {
        code_factor,
        data_factor,
        return_register,
        is_signal: false,
        encoding: PointerEncoding::ABSOLUTE,
        has_augmentation: false,
        program: body,
    };
    read_augmentation(&mut cie, augmentation)?;
    Some(cie)
}

/// Reads the CIE's augmentation data, which `cie.program` still stands before.
fn read_augmentation(cie: &mut Cie<'_>, augmentation: &[u8]) -> Option<()> {
    let letters = match augmentation {
        [] => return Some(()),
        [b'z', letters @ ..] => letters,
        // Without a length nobody knows where the program starts.
        _ => return None,
    };
    let bytes = usize::try_from(cie.program.uleb()?).ok()?;
    let mut data = cie.program.first(bytes)?;
    cie.program.skip(bytes)?;
    cie.has_augmentation = true;
    for letter in letters {
        match letter {
            b'R' => cie.encoding = PointerEncoding(data.u8()?),
            b'L' => data.skip(1)?,
            b'P' => {
                let encoding = PointerEncoding(data.u8()?);
                data.skip_pointer(encoding)?;
            }
            b'S' => cie.is_signal = true,
            // Letters that we do not know: the length tells where the program starts, but what
            // they change is unknown.
            _ => return None,
        }
    }
    Some(())
}
