//! What a virtual machine monitor has to be told to start a disk, as text.
//!
//! The disk's own part of the kernel command line comes from [`crate::init::Installed`]; here it gets
//! what depends on the monitor: where the root and the console are, and how the machine ends
//! (`kiln.end`, which only `kiln-init` reads).
//!
//! Deliberately absent: starting any of them, but for QEMU ([`crate::boot`]).

use serde_json::json;

/// A machine to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The kernel's file. Firecracker on x86-64 wants an uncompressed one (`vmlinux`).
    pub kernel: String,
    /// An initial file system, for kernels that have the disk's driver or file system as a module.
    pub initrd: Option<String>,
    /// The disk's file.
    pub disk: String,
    /// Whether the disk is given to the machine without the right to write to it.
    pub disk_access: DiskAccess,
    /// The disk's part of the kernel command line.
    pub kernel_arguments: Vec<String>,
    /// Memory, in MiB.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u32,
}

/// What a machine may do with its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskAccess {
    /// Change it.
    Write,
    /// Read it.
    Read,
    /// Change what it sees; the file stays as it is. QEMU only; elsewhere as [`DiskAccess::Read`].
    Discard,
}

/// The machine that QEMU makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QemuMachine {
    /// Small and fast to start; x86-64 only.
    Microvm,
    /// A PC; x86-64 only.
    Q35,
    /// What arm64 has.
    Virt,
}

/// What runs a machine's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor, by `/dev/kvm`.
    Kvm,
    /// QEMU itself: slow, and works everywhere.
    Tcg,
}

impl Machine {
    /// The whole kernel command line, with this root and console.
    fn command_line(&self, root: &str, console: &str, more: &[&str]) -> String {
        let mut words = vec![format!("console={console}"), format!("root={root}")];
        words.extend(self.kernel_arguments.iter().map(|word| quoted(word)));
        words.extend(more.iter().map(ToString::to_string));
        words.join(" ")
    }
}

/// The kernel splits at blanks outside double quotes.
fn quoted(word: &str) -> String {
    if word.contains(|character: char| character.is_ascii_whitespace()) {
        format!("\"{word}\"")
    } else {
        word.to_owned()
    }
}

/// Firecracker's configuration, for `firecracker --no-api --config-file`.
///
/// A restart is what ends its machines.
pub fn firecracker(machine: &Machine) -> String {
    let line = machine.command_line(
        "/dev/vda",
        "ttyS0",
        &["reboot=k", "panic=1", "pci=off", "kiln.end=restart"],
    );
    let mut boot = json!({ "kernel_image_path": machine.kernel, "boot_args": line });
    if let Some(initrd) = &machine.initrd {
        boot["initrd_path"] = json!(initrd);
    }
    let config = json!({
        "boot-source": boot,
        "drives": [{
            "drive_id": "rootfs",
            "path_on_host": machine.disk,
            // The command line says where the root is.
            "is_root_device": false,
            "is_read_only": machine.disk_access != DiskAccess::Write,
        }],
        "machine-config": { "vcpu_count": machine.cpus, "mem_size_mib": machine.memory_mib },
    });
    format!("{config:#}\n")
}

/// Cloud Hypervisor's command line.
pub fn cloud_hypervisor(machine: &Machine) -> Vec<String> {
    let line = machine.command_line("/dev/vda", "ttyS0", &["panic=1", "kiln.end=power-off"]);
    let access = match machine.disk_access {
        DiskAccess::Write => "off",
        DiskAccess::Read | DiskAccess::Discard => "on",
    };
    let mut words = vec![
        "cloud-hypervisor".to_owned(),
        "--kernel".to_owned(),
        machine.kernel.clone(),
        "--disk".to_owned(),
        format!("path={},readonly={access}", machine.disk),
        "--cmdline".to_owned(),
        line,
        "--cpus".to_owned(),
        format!("boot={}", machine.cpus),
        "--memory".to_owned(),
        format!("size={}M", machine.memory_mib),
        "--console".to_owned(),
        "off".to_owned(),
        "--serial".to_owned(),
        "tty".to_owned(),
    ];
    if let Some(initrd) = &machine.initrd {
        words.extend(["--initramfs".to_owned(), initrd.clone()]);
    }
    words
}

/// QEMU's command line. The disk is an `nvme` device, which Debian's cloud kernels start from without an
/// initial file system. The machine has no network. The console is the standard output.
pub fn qemu(machine: &Machine, kind: QemuMachine, accelerator: Accelerator) -> Vec<String> {
    let (program, kind, console) = match kind {
        QemuMachine::Microvm => (
            "qemu-system-x86_64",
            "microvm,pcie=on,acpi=on,rtc=on",
            "ttyS0",
        ),
        QemuMachine::Q35 => ("qemu-system-x86_64", "q35", "ttyS0"),
        QemuMachine::Virt => ("qemu-system-aarch64", "virt", "ttyAMA0"),
    };
    let (accelerator, cpu) = match accelerator {
        Accelerator::Kvm => ("kvm", "host"),
        Accelerator::Tcg => ("tcg", "max"),
    };
    // `-no-reboot` makes a restart, also one after a panic, the end. On a busy host the kernel's
    // test of its timer fails, though the timer works.
    let more = ["panic=-1", "no_timer_check", "kiln.end=restart"];
    let line = machine.command_line("/dev/nvme0n1", console, &more);
    let access = match machine.disk_access {
        DiskAccess::Write => "",
        DiskAccess::Read => ",readonly=on",
        DiskAccess::Discard => ",snapshot=on",
    };
    // A comma would end the file's name.
    let file = machine.disk.replace(',', ",,");
    let mut words: Vec<String> = [program, "-nodefaults", "-no-user-config", "-no-reboot"]
        .map(str::to_owned)
        .into();
    let memory = format!("{}M", machine.memory_mib);
    let cpus = machine.cpus.to_string();
    let drive = format!("if=none,id=root,format=raw,file={file}{access}");
    for (option, value) in [
        ("-machine", kind),
        ("-accel", accelerator),
        ("-cpu", cpu),
        ("-m", &memory),
        ("-smp", &cpus),
        ("-display", "none"),
        ("-monitor", "none"),
        ("-serial", "stdio"),
        ("-drive", &drive),
        ("-device", "nvme,drive=root,serial=root"),
        ("-kernel", &machine.kernel),
        ("-append", &line),
    ] {
        words.extend([option.to_owned(), value.to_owned()]);
    }
    if let Some(initrd) = &machine.initrd {
        words.extend(["-initrd".to_owned(), initrd.clone()]);
    }
    words
}

/// Words as a line that a shell splits into them again.
pub fn shell_line(words: &[String]) -> String {
    let is_plain = |word: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=./,:+@%".contains(&byte);
        !word.is_empty() && word.bytes().all(is_plain)
    };
    let words: Vec<String> = words
        .iter()
        .map(|word| {
            if is_plain(word) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', "'\\''"))
            }
        })
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn machine() -> Machine {
        Machine {
            kernel: "/boot/vmlinux".to_owned(),
            initrd: None,
            disk: "/disks/a,b.ext4".to_owned(),
            disk_access: DiskAccess::Write,
            kernel_arguments: vec!["init=/usr/lib/kiln/init".to_owned(), "rw".to_owned()],
            memory_mib: 256,
            cpus: 1,
        }
    }

    #[test]
    fn firecracker_reads_json() {
        expect![[r#"
            {
              "boot-source": {
                "boot_args": "console=ttyS0 root=/dev/vda init=/usr/lib/kiln/init rw reboot=k panic=1 pci=off kiln.end=restart",
                "kernel_image_path": "/boot/vmlinux"
              },
              "drives": [
                {
                  "drive_id": "rootfs",
                  "is_read_only": false,
                  "is_root_device": false,
                  "path_on_host": "/disks/a,b.ext4"
                }
              ],
              "machine-config": {
                "mem_size_mib": 256,
                "vcpu_count": 1
              }
            }
        "#]]
        .assert_eq(&firecracker(&machine()));
    }

    #[test]
    fn cloud_hypervisor_reads_its_command_line() {
        let machine = Machine {
            initrd: Some("/boot/it's".to_owned()),
            disk_access: DiskAccess::Read,
            ..machine()
        };
        expect![[r"cloud-hypervisor --kernel /boot/vmlinux --disk path=/disks/a,b.ext4,readonly=on --cmdline 'console=ttyS0 root=/dev/vda init=/usr/lib/kiln/init rw panic=1 kiln.end=power-off' --cpus boot=1 --memory size=256M --console off --serial tty --initramfs '/boot/it'\''s'"]]
        .assert_eq(&shell_line(&cloud_hypervisor(&machine)));
    }

    #[test]
    fn qemu_reads_its_command_line() {
        let machine = Machine {
            disk_access: DiskAccess::Discard,
            ..machine()
        };
        let words = qemu(&machine, QemuMachine::Microvm, Accelerator::Tcg);
        expect![[r"qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -machine microvm,pcie=on,acpi=on,rtc=on -accel tcg -cpu max -m 256M -smp 1 -display none -monitor none -serial stdio -drive if=none,id=root,format=raw,file=/disks/a,,b.ext4,snapshot=on -device nvme,drive=root,serial=root -kernel /boot/vmlinux -append 'console=ttyS0 root=/dev/nvme0n1 init=/usr/lib/kiln/init rw panic=-1 no_timer_check kiln.end=restart'"]]
        .assert_eq(&shell_line(&words));
    }
}
