// One function a command; each gives the exit code. Private to this folder.
#pragma once

#include "cli/session.h"

namespace wa::cli {

int run(Session& session, const SubmitCommand& command);
int run(Session& session, const StatusCommand& command);
int run(Session& session, const TicketsListCommand& command);
int run(Session& session, const TicketShowCommand& command);
int run(Session& session, const TicketLogsCommand& command);
int run(Session& session, const TicketWatchCommand& command);
int run(Session& session, const TicketExplainCommand& command);
int run(Session& session, const TicketCancelCommand& command);
int run(Session& session, const TicketRetryCommand& command);
int run(Session& session, const PlansListCommand& command);
int run(Session& session, const PlanShowCommand& command);
int run(Session& session, const PlanWatchCommand& command);
int run(Session& session, const PlanCancelCommand& command);
int run(Session& session, const PlanRetryCommand& command);
int run(Session& session, const DlqListCommand& command);
int run(Session& session, const DlqShowCommand& command);
int run(Session& session, const DlqChangeCommand& command);
int run(Session& session, const DlqExportCommand& command);
int run(Session& session, const ExecutorsCommand& command);
int run(Session& session, const DrainCommand& command);
int run(Session& session, const LogsCommand& command);
int run(Session& session, const DoctorCommand& command);
int run(Session& session, const ValidateCommand& command);
int run(Session& session, const ConfigShowCommand& command);
int run(Session& session, const ConfigInitCommand& command);
int run(Session& session, const ConfigSchemaCommand& command);
int run(Session& session, const VersionCommand& command);
int run(Session& session, const CompletionCommand& command);
int run(Session& session, const CompleteCommand& command);

// "-" = standard input. Bounded by the limit of a plan file.
[[nodiscard]] Result<std::string> read_input(Session& session, const std::string& file);
// Copies a stream to stdout until it ends or Ctrl-C; on a terminal its control characters are escaped.
[[nodiscard]] Result<void> copy_stream(Session& session, ApiStream& stream);
// Writes text that may hold control characters: as it is into a pipe, escaped on a terminal.
void print_raw(Session& session, std::string_view text);

}  // namespace wa::cli
