FROM scratch
ADD ["a.txt", "sp ace.txt", "/to the/"]
