FROM diff-base
RUN ["/bin/busybox", "printf", "%s|", "a b", "", "$X", "c\\d"]
RUN ["/bin/busybox", "touch", "/x y"]
