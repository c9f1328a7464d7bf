#Requires -Version 5.1
#Requires -RunAsAdministrator
<#
.SYNOPSIS
Has the VSS writers of this Windows Server guest write out what they hold when a backup by xenkeep asks for it.

.DESCRIPTION
How the two talk is written down in docs/decisions/0009-consistency-and-guest-hooks.md of xenkeep. The request is read from
xenstore, and the state is written there, through the WMI classes of the guest's Xen drivers.

Windows lets nobody but a VSS provider hold the writers for longer than an instant. So diskshadow makes a shadow copy of
every fixed NTFS and ReFS volume: for it the writers freeze and write out, and the copy keeps that moment on the very disks
that the pool freezes an instant later. "frozen" is told while these copies stand; they are removed when the snapshot is
made, when the time is up, or when this script ends. What is restored has the volumes as after a power cut, and on them the
shadow copies of a moment in which all was written out: contrib/guest/README.md says how to use them.

.PARAMETER MaxSeconds
Shadow copies stay no longer, whatever is asked for.

.PARAMETER Exclude
Volumes that are left alone, such as D:.
#>
param(
    [ValidateRange(5, 3600)][int]$MaxSeconds = 120,
    [string[]]$Exclude = @()
)

Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'

$RequestPath = 'vm-data/xenkeep/request'
$StatePath = 'control/xenkeep'
$WorkDir = Join-Path $env:ProgramData 'xenkeep-guest'
$HeldFile = Join-Path $WorkDir 'held'
$ReleaseFile = Join-Path $WorkDir 'release'

# The classes are called CitrixXenStore… or XenProjectXenStore…, as the drivers' maker is.
function Open-XenStore {
    $base = Get-WmiObject -Namespace 'root\wmi' -List | Where-Object { $_.Name -like '*XenStoreBase' } | Select-Object -First 1
    if (-not $base) { throw 'no driver of this guest offers xenstore: install the guest tools' }
    $sessions = $base.Name -replace 'Base$', 'Session'
    $made = (Get-WmiObject -Namespace 'root\wmi' -Class $base.Name).AddSession("xenkeep-guest-$PID")
    Get-WmiObject -Namespace 'root\wmi' -Query "SELECT * FROM $sessions WHERE SessionId=$($made.SessionId)"
}

function Read-Key([string]$Path) {
    try { [string]$script:Store.GetValue($Path).value } catch { '' }
}

function Write-State([string]$Text) {
    $script:State = "1 $Text"
    try { [void]$script:Store.SetValue($StatePath, $script:State) } catch { Write-Warning "xenstore: $_" }
}

function Get-Volumes {
    Get-WmiObject Win32_Volume -Filter 'DriveType=3' |
        Where-Object { $_.FileSystem -in 'NTFS', 'ReFS' -and $_.DriveLetter -and $_.DriveLetter -notin $Exclude } |
        ForEach-Object { $_.DriveLetter }
}

# diskshadow makes the copies, says so by the file "held", and removes them once "release" is there or the time is up.
function Start-Shadows([int]$Seconds) {
    $volumes = @(Get-Volumes)
    if ($volumes.Count -eq 0) { throw 'there is no volume to make a shadow copy of' }
    Remove-Item $HeldFile, $ReleaseFile -ErrorAction SilentlyContinue
    $hold = Join-Path $WorkDir 'hold.cmd'
    @(
        '@echo off'
        "echo held> `"$HeldFile`""
        "for /l %%i in (1,1,$Seconds) do ("
        "  if exist `"$ReleaseFile`" exit /b 0"
        '  ping -n 2 127.0.0.1 > nul'
        ')'
        'exit /b 0'
    ) | Set-Content -Path $hold -Encoding ASCII
    $steps = @('SET CONTEXT PERSISTENT', "SET METADATA `"$(Join-Path $WorkDir 'shadows.cab')`"")
    $steps += $volumes | ForEach-Object { "ADD VOLUME $_" }
    $steps += 'CREATE', "EXEC `"$hold`"", 'DELETE SHADOWS SET %VSS_SHADOW_SET%'
    $plan = Join-Path $WorkDir 'shadows.txt'
    $steps | Set-Content -Path $plan -Encoding ASCII
    Start-Process -FilePath 'diskshadow.exe' -ArgumentList '/s', "`"$plan`"" -WindowStyle Hidden -PassThru `
        -RedirectStandardOutput (Join-Path $WorkDir 'diskshadow.log')
}

function Stop-Shadows($Process) {
    Set-Content -Path $ReleaseFile -Value 'release' -Encoding ASCII
    if (-not $Process.WaitForExit(60000)) { $Process.Kill() }
}

function Invoke-Request([string]$Nonce, [int]$Seconds, [string]$Request) {
    $limit = [Math]::Min($Seconds, $MaxSeconds)
    $until = (Get-Date).AddSeconds($limit)
    $how = 'thawed'
    try {
        $process = Start-Shadows $limit
    } catch {
        Write-State "failed $Nonce $($_.Exception.Message)"
        return
    }
    try {
        while (-not (Test-Path $HeldFile)) {
            if ($process.HasExited) { Write-State "failed $Nonce diskshadow ended with $($process.ExitCode)"; return }
            if ((Get-Date) -ge $until) { Write-State "failed $Nonce the writers took too long"; return }
            Start-Sleep -Milliseconds 200
        }
        Write-State "frozen $Nonce"
        while ((Read-Key $RequestPath) -eq $Request) {
            if ((Get-Date) -ge $until) { $how = 'expired'; break }
            Start-Sleep -Milliseconds 200
        }
        Write-State "$how $Nonce"
    } finally {
        Stop-Shadows $process
    }
}

[void](New-Item -ItemType Directory -Force -Path $WorkDir)
# Only administrators may write what is run from there.
[void](icacls $WorkDir /inheritance:r /grant:r '*S-1-5-18:(OI)(CI)F' '*S-1-5-32-544:(OI)(CI)F')
$Store = Open-XenStore
$State = ''
# What stands there now was meant for somebody who is gone, or for the VM that this one was restored from.
$seen = Read-Key $RequestPath
Write-State 'ready'
$ticks = 0
try {
    while ($true) {
        Start-Sleep -Seconds 1
        $request = Read-Key $RequestPath
        if ($request -ne $seen) {
            $seen = $request
            if ($request -match '^freeze ([a-z0-9]{1,64}) (\d{1,5})$') {
                Invoke-Request $Matches[1] ([int]$Matches[2]) $request
            } elseif ($request -match '^thaw ([a-z0-9]{1,64})$') {
                Write-State "thawed $($Matches[1])"
            }
        }
        # After a migration or a resume xenstore is another one.
        if (++$ticks % 10 -eq 0 -and (Read-Key $StatePath) -ne $State) { Write-State 'ready' }
    }
} finally {
    Write-State 'gone'
}
