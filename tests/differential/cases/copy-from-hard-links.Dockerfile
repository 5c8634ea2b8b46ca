FROM diff-base
RUN mkdir /h && echo x > /h/1 && ln /h/1 /h/2 && ln /h/1 /h/3
FROM scratch
COPY --from=0 /h /h
