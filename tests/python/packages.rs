//! Packages that an interpreter is given for a test, by its own `pip`, once; what cannot be had is
//! said aloud, and the test goes without.

use super::Interpreter;
use heaptape_tests::build;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A folder of its own for this interpreter: others have the same version.
fn folder_of(interpreter: &Interpreter, name: &str) -> PathBuf {
    let program = interpreter.program.to_str().unwrap().replace('/', "_");
    build::cache_folder()
        .join(format!("python{program}"))
        .join(name)
}

/// Makes `folder` by `fill`, once; `None`, and says so, when that fails.
fn made_once(folder: PathBuf, fill: impl FnOnce(&Path) -> Result<(), String>) -> Option<PathBuf> {
    let _turn = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if folder.is_dir() {
        return Some(folder);
    }
    let fresh = folder.with_extension(format!("{}.new", std::process::id()));
    std::fs::create_dir_all(&fresh).unwrap();
    let filled = fill(&fresh);
    if let Err(words) = filled {
        let _ = std::fs::remove_dir_all(&fresh);
        eprintln!("SKIPPED: {}: {words}", folder.display());
        return None;
    }
    std::fs::rename(&fresh, &folder).unwrap();
    Some(folder)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {words}")),
    }
}

/// A folder with `packages` for this interpreter, to put on `PYTHONPATH`.
pub(super) fn packages(interpreter: &Interpreter, packages: &[&str]) -> Option<PathBuf> {
    made_once(folder_of(interpreter, &packages.join("-")), |folder| {
        let mut pip = Command::new(&interpreter.program);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]);
        pip.args(["--only-binary", ":all:", "--target"]).arg(folder);
        run(pip.args(packages))
    })
}

/// A folder with the module `name`, which Cython makes of `NAME.pyx` of the targets.
pub(super) fn cython_module(interpreter: &Interpreter, name: &str) -> Option<PathBuf> {
    let cython = packages(interpreter, &["cython"])?;
    made_once(folder_of(interpreter, name), |folder| {
        let source = super::script(&format!("{name}.pyx"));
        let c = folder.join(format!("{name}.c"));
        let mut translate = Command::new(&interpreter.program);
        translate
            .args(["-m", "cython"])
            .arg(source)
            .arg("-o")
            .arg(&c);
        run(translate.env("PYTHONPATH", &cython))?;
        compile(interpreter, &c, &folder.join(format!("{name}.so")), &[])
    })
}

/// A folder with the extension module `name`, of `NAME.c` of the targets.
pub(super) fn extension_module(interpreter: &Interpreter, name: &str) -> Option<PathBuf> {
    made_once(folder_of(interpreter, name), |folder| {
        let source = super::script(&format!("{name}.c"));
        let output = folder.join(format!("{name}.so"));
        compile(interpreter, &source, &output, &["-fno-builtin"])
    })
}

fn compile(
    interpreter: &Interpreter,
    source: &Path,
    output: &Path,
    options: &[&str],
) -> Result<(), String> {
    let mut ask = Command::new(&interpreter.program);
    ask.args([
        "-c",
        "import sysconfig; print(sysconfig.get_paths()['include'])",
    ]);
    let answer = ask.output().map_err(|error| error.to_string())?;
    let include = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    if !Path::new(&include).join("Python.h").exists() {
        return Err(format!("no Python.h in {include}"));
    }
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-g", "-shared", "-fPIC", "-pthread", "-I", &include]);
    run(cc.args(options).arg(source).arg("-o").arg(output))
}
