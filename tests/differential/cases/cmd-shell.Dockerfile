FROM scratch
COPY a.txt /
CMD echo $HOME && exec program "an argument"
