FROM scratch
COPY dirlink/sub /dst
