FROM scratch
COPY a.txt /
ARG A=arg
ENV E=env
LABEL a=$A e="${E}x" l='$E' u=[$UNSET]
