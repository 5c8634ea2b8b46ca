FROM diff-base
RUN --mount=type=cache,id=diff-all,target=/c --mount=type=tmpfs,target=/t --mount=target=/ctx --mount=type=secret,id=token ls -d /c /t /ctx /run/secrets/token > /list
# with: --secret id=token,src={context}/a.txt --secret id=other,src={context}/b.txt
