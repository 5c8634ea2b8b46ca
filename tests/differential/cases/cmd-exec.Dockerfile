FROM scratch
CMD ["/program", "an argument", "a \"quoted\" one", "$HOME"]
