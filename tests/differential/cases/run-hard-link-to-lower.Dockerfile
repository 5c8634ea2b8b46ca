FROM diff-base
RUN echo x > /l1
RUN ln /l1 /l2
