FROM scratch
COPY a.txt /
ONBUILD   RUN   a   &&   b
ONBUILD ENV A="b c" D=$E
ONBUILD COPY ["x", "y"]
