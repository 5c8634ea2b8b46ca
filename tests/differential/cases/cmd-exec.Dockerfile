FROM scratch
COPY a.txt /
CMD ["/program", "an argument", "a \"quoted\" one", "$HOME"]
