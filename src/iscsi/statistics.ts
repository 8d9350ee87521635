/** Counters since the start, for /metrics. */
export class Statistics {
	connections = 0;
	connectionsRefused = 0;
	logins = 0;
	loginsRefused = 0;
	loginsRedirected = 0;
	authenticationFailures = 0;
	commands = 0;
	bytesRead = 0;
	bytesWritten = 0;
	rejects = 0;
	digestErrors = 0;
	protocolErrors = 0;
	tasksAborted = 0;
	taskManagementFunctions = 0;
	taskSetFull = 0;
	commandsIgnored = 0;
	stalled = 0;
	reinstatements = 0;
}
