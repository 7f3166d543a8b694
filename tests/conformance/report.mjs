// Judges one leg of tests/conformance/run by what the suite wrote down, because the suite's own exit
// code forgives warnings, skipped checks and scenarios that never ran. Prints one line of the table;
// what is wrong follows below it. Exits with 1 if anything is.
//
//   node report.mjs NAME EXPECTED-SCENARIOS SECONDS FOLDER

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

// Checks that may be skipped, each with the reason.
const MAY_BE_SKIPPED = new Map([
  ["tasks-status-notifications", "the suite has no test for it yet and skips it always"],
]);

// Scenarios in which the suite cannot fail, with the check that makes them worth something.
const MUST_SUCCEED = new Map([["server-sse-polling", "server-sse-disconnect-resume"]]);

const [name, expected, seconds, folder] = process.argv.slice(2);

/** Returns `[scenario, checks]` of every scenario that ran. The suite makes a folder for each, named
 * `server-SCENARIO-TIME`. */
function results() {
  const folders = existsSync(folder) ? readdirSync(folder).sort() : [];
  return folders.map((entry) => {
    const scenario = entry.replace(/^server-/, "").replace(/-\d{4}-\d\d-\d\dT.*$/, "");
    const file = join(folder, entry, "checks.json");
    return [scenario, existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : []];
  });
}

/** Whether the scenario is judged in this leg: those of tasks have a leg of their own. */
function counts([scenario]) {
  return name === "tasks" || !scenario.startsWith("tasks-");
}

function problemsOf([scenario, checks]) {
  const problems = checks
    .filter((check) => isProblem(check))
    .map((check) => `${check.status} ${scenario}: ${check.id}: ${check.errorMessage ?? check.description}`);
  const mayBeSkipped = checks.length > 0 && checks.every((check) => MAY_BE_SKIPPED.has(check.id));
  if (problems.length === 0 && !mayBeSkipped && !checks.some((check) => check.status === "SUCCESS")) {
    problems.push(`EMPTY ${scenario}: no check of it succeeded`);
  }
  const needed = MUST_SUCCEED.get(scenario);
  if (needed && !checks.some((check) => check.id === needed && check.status === "SUCCESS")) {
    problems.push(`MISSING ${scenario}: ${needed} did not succeed`);
  }
  return problems;
}

function isProblem(check) {
  if (check.status === "SKIPPED") return !MAY_BE_SKIPPED.has(check.id);
  return !["SUCCESS", "INFO"].includes(check.status);
}

const judged = results().filter(counts);
const checks = judged.flatMap(([, checks]) => checks);
const count = (...statuses) => checks.filter((check) => statuses.includes(check.status)).length;

const problems = judged.flatMap(problemsOf);
if (judged.length !== Number(expected)) {
  problems.unshift(`COUNT ${judged.length} scenarios ran, and not ${expected}`);
}

const columns = [judged.length, count("SUCCESS", "FAILURE"), count("FAILURE"), count("WARNING"), Number(seconds).toFixed(1)];
console.log(name.padEnd(28) + columns.map((column) => String(column).padStart(10)).join(""));
for (const problem of problems) console.log(`    ${problem}`);
process.exit(problems.length === 0 ? 0 : 1);
