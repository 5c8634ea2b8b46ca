FROM scratch
ADD a.txt /added/
