FROM scratch
COPY ?i?/sub /subs/
