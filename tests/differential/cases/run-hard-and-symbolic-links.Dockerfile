FROM diff-base
RUN echo x > /h1 && ln /h1 /h2 && ln -s h1 /s && ln -s /nowhere /broken && mkfifo /pipe
