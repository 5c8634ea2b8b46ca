FROM scratch
CMD echo $HOME && exec program "an argument"
