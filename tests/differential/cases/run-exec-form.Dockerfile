FROM diff-base
RUN ["/bin/busybox", "sh", "-c", "echo \"$0 $1\" > /out", "zero", "one two"]
