const assert = require("assert");
const ms = require("ms");

assert.strictEqual(ms("2 hours"), 7200000);
