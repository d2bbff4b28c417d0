-- A JobRun is healthy when it is complete, or when Git has brought back one that had begun before. Only a run that waits for a person is suspended.
local health = { status = "Progressing", message = "the operator has not looked at it yet" }
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end
-- A hook is there to do its work each time, so one that did not run because its name had begun before has failed.
local hook = (obj.metadata.annotations or {})["argocd.argoproj.io/hook"] ~= nil
for _, condition in ipairs(obj.status.conditions or {}) do
  if (condition.type == "Stalled" or condition.type == "Failed" and hook) and condition.status == "True" then
    return { status = "Degraded", message = condition.reason .. ": " .. condition.message }
  elseif condition.type == "Suspended" and condition.status == "True" then
    return { status = "Suspended", message = condition.reason .. ": " .. condition.message }
  elseif condition.type == "Running" and (condition.reason == "AwaitingApproval" or condition.reason == "AwaitingTicket") then
    return { status = "Suspended", message = condition.reason .. ": " .. condition.message }
  elseif condition.type == "Ready" then
    health.message = condition.reason .. ": " .. condition.message
    if condition.status == "True" then
      health.status = "Healthy"
    end
  end
end
return health
