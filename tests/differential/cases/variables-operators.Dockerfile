FROM scratch
COPY a.txt /
ENV SET=v EMPTY=
ENV A=${SET:-d} B=${EMPTY:-d} C=${UNSET:-d} D=${SET:+p} E=${EMPTY:+p} F=${UNSET:+p}
