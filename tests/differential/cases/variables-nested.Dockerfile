FROM scratch
COPY a.txt /
ENV IN=inner
ENV A=${X:-${Y:-$IN}} B=${X:-a${IN}b} C=${IN:+${X:-z}}
