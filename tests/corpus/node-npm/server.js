// Answers /<duration> with its milliseconds, by a package from the registry.
const http = require("http");
const ms = require("ms");

const server = http.createServer((request, response) => {
  const text = decodeURIComponent(request.url.slice(1));
  response.end(`${text} = ${ms(text)} ms for uid ${process.getuid()}\n`);
});
server.listen(Number(process.env.PORT), "127.0.0.1");
process.on("SIGINT", () => process.exit(0));
