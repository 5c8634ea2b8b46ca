FROM diff-base
RUN mkdir -m 0711 /t && echo under > /t/under
RUN --mount=type=tmpfs,target=/t ls /t > /seen && echo x > /t/new
RUN ls /t > /after
